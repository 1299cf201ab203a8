// What the members observe: the matrix, lost links, disagreements, versions, and how hot a round trip is.

import assert from "node:assert/strict";
import { test } from "node:test";
import { disagreements, heatMap, heatOf, impairedLinks, lostLinks, matrix, versions } from "./observed.js";

const observer = (name, more = {}) => ({ name, zone: "", failure: "", version: "0.1.0", problems: [], ...more });
const members = (...some) => new Map(some.map(([name, status = "alive", zone = ""]) => [name, { name, status, zone }]));

export const answer = (more = {}) => ({
  at: 1, observer: "a", asked: 3, answered: 3, observers: [observer("a"), observer("b"), observer("c")], differences: [], zones: [], round_trips: [],
  ownStatus: [["a", "alive"], ["b", "alive"], ["c", "alive"]], ...more,
});
const differs = (one, other, status = "alive", link = "direct") => ({ observer: one, member: other, status, link });

test("a small cluster is shown whole, the failed last, and each cell says what is seen", () => {
  const told = answer({ differences: [differs("b", "c", "alive", "outgoing_lost")], round_trips: [{ observer: "a", members: { b: 0.002 } }] });
  const shown = matrix(told, members(["c"], ["gone", "failed"], ["a"], ["b"], ["old", "left"]));
  assert.deepEqual(shown.columns, ["a", "b", "c", "gone"]);
  assert.deepEqual(shown.rows.map((row) => row.name), ["a", "b", "c"]);
  assert.deepEqual(shown.rows[0].cells.map((cell) => cell.status), ["self", "alive", "alive", "failed"]);
  assert.equal(shown.rows[0].cells[1].trip, 0.002);
  assert.deepEqual(shown.rows[1].cells[2], { member: "c", status: "alive", link: "outgoing_lost", trip: null, differs: true });
  assert.deepEqual(shown.rows.map((row) => row.differs), [false, true, false]);
});

test("an observer without an answer has a row that says why", () => {
  const told = answer({ observers: [observer("a"), observer("b", { failure: "it does not answer" })] });
  const [, silent] = matrix(told, members(["a"], ["b"])).rows;
  assert.equal(silent.failure, "it does not answer");
  assert.ok(silent.cells.every((cell) => cell.status === "none" || cell.status === "self"));
});

test("of more than forty members only rows and columns with a difference are shown", () => {
  const names = Array.from({ length: 60 }, (_, place) => `m${place}`);
  const told = answer({ observers: names.map((name) => observer(name)), differences: [differs("m7", "m9", "suspect"), differs("m7", "m8", "unknown")] });
  const shown = matrix(told, members(...names.map((name) => [name])));
  assert.equal(shown.isWhole, false);
  assert.deepEqual(shown.rows.map((row) => row.name), ["m7"]);
  assert.deepEqual(shown.columns, ["m7", "m8", "m9"]);
  const many = names.flatMap((one) => names.filter((other) => other !== one).map((other) => differs(one, other, "suspect")));
  assert.equal(matrix(answer({ observers: names.map((name) => observer(name)), differences: many }), members(...names.map((name) => [name]))).hidden, 20);
  assert.equal(matrix(answer(), members(...names.map((name) => [name]))).rows.length, 0);
});

test("a lost link is told once, with its direction if that is known", () => {
  const one = answer({ differences: [differs("b", "c", "alive", "outgoing_lost"), differs("c", "b", "alive", "incoming_lost")] });
  assert.deepEqual(lostLinks(one), [{ from: "b", to: "c", both: false }]);
  const both = answer({ differences: [differs("b", "c", "alive", "incoming_lost"), differs("c", "b", "alive", "incoming_lost")] });
  assert.deepEqual(lostLinks(both), [{ from: "c", to: "b", both: true }]);
  const half = answer({ differences: [differs("b", "c", "alive", "incoming_lost")] });
  assert.deepEqual(lostLinks(half), [{ from: "c", to: "b", both: false }]);
  assert.deepEqual(lostLinks(answer()), []);
  assert.deepEqual(impairedLinks(answer({ differences: [differs("b", "c", "alive", "streams_only")] })).map((each) => each.link), ["streams_only"]);
});

test("a belief that is not this agent's is a disagreement, and a lost link alone is none", () => {
  const told = answer({ differences: [differs("b", "c", "failed"), differs("c", "b", "alive", "outgoing_lost"), differs("a", "b", "alive", "incoming_lost")] });
  assert.deepEqual(disagreements(told), [{ member: "c", status: "failed", observers: ["b"] }]);
});

test("versions are told the most common first", () => {
  const told = answer({ observers: [observer("a"), observer("b", { version: "0.2.0" }), observer("c"), observer("d", { failure: "x", version: "" })] });
  assert.deepEqual(versions(told), [["0.1.0", ["a", "c"]], ["0.2.0", ["b"]]]);
});

test("zones are a square with what was measured, each by its heat", () => {
  const told = answer({ zones: [{ from: "north", to: "south", median: 0.02, worst: 0.03, links: 2 }] });
  const { zones, cells } = heatMap(told);
  assert.deepEqual(zones, ["north", "south"]);
  assert.deepEqual(cells[0].map((cell) => cell?.heat ?? null), [null, 3]);
  assert.deepEqual([0.00001, 0.0005, 0.001, 0.009, 9].map(heatOf), [0, 0, 1, 3, 5]);
});
