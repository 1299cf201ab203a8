// Problems are found, the gravest first, and each says since when, why and what to do.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Registry } from "./model.js";
import { findProblems, isGrave, whyIdle } from "./problems.js";

const NODE = {
  name: "alpha", address: "10.0.0.1:7940", generation: 1000, isolated: false, silence: 0, joined: true, join_failures: {},
  serving_last_known: false, name_conflict: null, draining: false, leaving: false, problems: [], warnings: [], local_health: 0,
};
const member = (name, status, more = {}) => ({ name, status, address: "10.0.0.2:7940", generation: 1000, draining: false, zone: "", ...more });
const instance = (id, more = {}) => ({ id, service: "orders", owner: "alpha", health: "passing", reason: "", tags: [], meta: {}, role: null, zone: "", weight: 1, ...more });

function found({ members = [], instances = [], node = {}, ...more } = {}) {
  const registry = new Registry();
  registry.apply("snapshot", { members, instances }, 100);
  const state = { registry, node: { ...NODE, ...node }, policies: [], unreadable: [], checks: [], observed: null, panicked: false, ...more };
  return findProblems(state);
}

test("of a cluster that is well nothing is said", () => {
  assert.deepEqual(found({ members: [member("alpha", "alive"), member("old", "left")], instances: [instance("a")] }), []);
});

test("each kind of trouble is named with its cause", () => {
  const all = found({
    members: [member("beta", "failed"), member("gamma", "suspect"), member("delta", "alive", { draining: true })],
    instances: [
      instance("a", { health: "critical", reason: "http: 500" }), instance("b", { health: "critical", reason: "http: 500" }),
      instance("u", { service: "users" }), instance("v", { service: "users", health: "warning", reason: "slow" }),
      instance("p", { service: "pg", role: "primary" }), instance("q", { service: "pg", role: "fenced" }),
    ],
    node: { isolated: true, silence: 9, joined: false, join_failures: { "10.0.0.9:7940": { detail: "refused" } }, problems: ["the clock is 5 s ahead"], warnings: ["no key"], local_health: 3 },
    policies: [{ key: "split:nix", kind: "split", service: "nix", by: "tag", shares: { v1: 1 }, at: 7 }],
    unreadable: [{ key: "canary:orders", writer: "beta", at: 8 }],
    checks: [{ instance: "a", service: "orders", name: "http", flapping: true, reason: "" }],
    panicked: true,
  });
  const titles = all.map((each) => each.title).join("\n");
  for (const part of ["isolated", "not joined", "panic", "beta has failed", "gamma is suspect", "orders has no instance that can serve",
    "primary of pg", "users: 1 instance with a warning", "check http of a flaps", "policy split:nix has no effect", "cannot read the policy canary:orders",
    "the clock is 5 s ahead", "no key", "local health is 3", "1 member draining: delta"]) assert.ok(titles.includes(part), part);
  assert.ok(all.find((each) => each.title.includes("orders has no")).why.startsWith("2 × http: 500"));
  assert.ok(all.find((each) => each.title.includes("not joined")).why.includes("10.0.0.9:7940: refused"));
  assert.ok(all.find((each) => each.title.includes("beta")).todo.includes("gossipreg forget beta"));
  const levels = all.map((each) => ["bad", "warn", "early", "note"].indexOf(each.level));
  assert.deepEqual(levels, [...levels].sort());
  assert.equal(new Set(all.map((each) => each.key)).size, all.length);
});

test("members that were lost at one time are one problem, and others are by themselves", () => {
  const registry = new Registry();
  registry.apply("snapshot", { members: [], instances: [] }, 100);
  for (const [name, at] of [["beta", 200], ["gamma", 203], ["delta", 300]]) registry.apply("member-failed", member(name, "failed"), at);
  const all = findProblems({ registry, node: NODE, policies: [], unreadable: [], checks: [], observed: null, panicked: false });
  assert.deepEqual(all.map((each) => [each.title, each.since]), [
    ["Member delta has failed", 300], ["2 members were lost at one time: beta, gamma", 200],
  ]);
  assert.match(all[1].why, /split/);
});

test("what the members observe names lost links, disagreements, problems of others and mixed versions", () => {
  const observed = {
    observer: "alpha", observers: [
      { name: "alpha", failure: "", version: "0.1.0", problems: [] }, { name: "beta", failure: "", version: "0.1.0", problems: ["the disk is full", "nothing arrives from them, and they answer through others only: gamma"] },
      { name: "gamma", failure: "", version: "0.2.0", problems: ["the disk is full"] }, { name: "delta", failure: "it does not answer", version: "", problems: [] },
    ],
    differences: [{ observer: "beta", member: "gamma", status: "alive", link: "outgoing_lost" }, { observer: "gamma", member: "alpha", status: "failed", link: "direct" },
      { observer: "beta", member: "alpha", status: "alive", link: "streams_only" }],
    ownStatus: [["alpha", "alive"], ["beta", "alive"], ["gamma", "alive"]], zones: [], round_trips: [],
  };
  const all = found({ observed, members: ["alpha", "beta", "gamma", "delta"].map((name) => member(name, "alive")), node: { problems: ["what is sent to them is lost, theirs arrives, and they answer through others only: beta"] } });
  const titles = all.map((each) => each.title);
  assert.deepEqual(titles, ["What beta sends to gamma is lost", "Members disagree about alpha", "From beta to alpha not everything passes", "the disk is full",
    "delta does not tell what it observes", "Members run different versions"]);
  assert.match(all[3].why, /beta, gamma/);
  assert.match(all[3].todo, /disk/);
  assert.match(all[5].why, /0\.2\.0 \(gamma\)/);
});

test("a problem whose beginning the agent does not tell counts from when it was first seen, whatever its numbers are", () => {
  const keys = new Map();
  const seen = (key) => { if (!keys.has(key)) keys.set(key, 40 + keys.size); return keys.get(key); };
  const [first] = found({ node: { problems: ["the clock is 5 s ahead of that of the peers"] }, seen });
  const [again] = found({ node: { problems: ["the clock is 6 s ahead of that of the peers"] }, seen });
  assert.deepEqual([first.since, again.since], [40, 40]);
  assert.match(again.todo, /NTP/);
});

test("when most instances were lost with their members, callers may panic", () => {
  const instances = ["a", "b", "c"].map((id) => instance(id, { owner: `m-${id}`, health: id === "a" ? "passing" : "critical", reason: "its owner has failed" }));
  const all = found({ members: [member("m-b", "failed"), member("m-c", "failed")], instances });
  assert.match(all.find((each) => each.key === "h orders").why, /2 were lost with their members: callers with a panic threshold above 33 %/);
});

test("a hundred failed members are not a hundred lines", () => {
  const all = found({ members: Array.from({ length: 100 }, (_, place) => member(`m-${place}`, "failed")) });
  assert.equal(all.length, 41);
  assert.ok(all.some((each) => each.title.startsWith("60 more members")));
});

test("a policy is idle when it is about nothing, or a share of it is", () => {
  const service = { instances: new Map([["alpha/a", instance("a", { tags: ["v1"] })]]) };
  const split = { kind: "split", service: "orders", by: "tag", shares: { v1: 9, v2: 1 } };
  assert.match(whyIdle(split, service), /tag v2/);
  assert.equal(whyIdle({ ...split, shares: { v1: 9, v2: 0 } }, service), null);
  assert.equal(whyIdle({ kind: "weight", service: "orders", instance: "a", owner: null }, service), null);
  assert.match(whyIdle({ kind: "weight", service: "orders", instance: "a", owner: "beta" }, service), /called a/);
});

test("a region that is stale has a remedy of its own, not that of regions that differ", () => {
  const said = (problem) => found({ node: { problems: [problem] } }).map((each) => each.todo).join(" ");
  assert.match(said("the region eu was last confirmed 23 s ago, and is shown as stale: refused"), /agents there/);
  assert.match(said("the cell b was last heard 23 s ago: what it has registered is shown as stale"), /hosts there/);
  assert.match(said("the nodes of this cluster are in several regions: eu, us"), /the same region/);
});

test("signs of trouble that may pass are told at once, and do not count as problems", () => {
  const observer = (name, silent) => ({ name, failure: silent ? "it does not answer in time" : "", silent, version: "1", problems: [] });
  const told = (silent, differences = []) => ({
    observer: "alpha", observers: ["alpha", "beta", "gamma", "delta"].map((name) => observer(name, silent.includes(name))), differences,
    ownStatus: ["alpha", "beta", "gamma", "delta"].map((name) => [name, "alive"]), zones: [], round_trips: [],
  });
  const members = ["alpha", "beta", "gamma", "delta"].map((name) => member(name, "alive"));
  const titles = (observed, more = {}) => found({ observed, members, ...more }).map((each) => [each.level, each.title]);
  assert.deepEqual(titles(told(["beta"])), [["early", "Member beta does not answer"]]);
  assert.deepEqual(titles(told(["gamma", "delta"])), [["early", "2 members do not answer: gamma, delta"]]);
  assert.deepEqual(titles(told(["beta", "gamma", "delta"])), [["early", "None of the other members answers: beta, gamma, delta"]]);
  const unanswered = { observer: "beta", member: "gamma", status: "alive", link: "direct", unanswered: 1 };
  assert.deepEqual(titles(told([], [unanswered])), [["early", "Member gamma did not answer the last ping of beta"]]);
  const lost = [unanswered, { ...unanswered, link: "outgoing_lost" }];
  assert.deepEqual(titles(told([], lost)), [["bad", "What beta sends to gamma is lost"]]);
  const some = [members[0], member("beta", "suspect"), member("gamma", "suspect"), members[3]];
  assert.deepEqual(titles(told([]), { members: some }), [["warn", "2 members do not answer: beta, gamma"]]);
  assert.equal(found({ observed: told(["beta"]), members }).filter(isGrave).length, 0);
});
