// Texts, times, routes, filters and the stream's form.

import assert from "node:assert/strict";
import { test } from "node:test";
import { points } from "./chart.js";
import { hasState, matchesInstance, matchesMember, matchesService, parseSearch } from "./filter.js";
import { bytes } from "./rates.js";
import { hash, parse } from "./route.js";
import { labelsOf, moved, percents } from "./split.js";
import { EventParser } from "./sse.js";
import { T, many, number, visible } from "./text.js";
import { age, clock, trip } from "./time.js";

const instance = (id, more = {}) => ({ id, service: "orders", host: "10.0.0.1", port: 80, tags: ["v1"], meta: { team: "red" }, role: null, zone: "north", health: "passing", owner: "alpha", reason: "", ...more });

test("events are read wherever the pieces of the stream are cut", () => {
  const text = 'event: snapshot\ndata: {"a":"ä\\n"}\n\n: keep-alive\n\nevent: instance-added\ndata: {"id":"x"}\n\n';
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser();
    const events = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
    assert.deepEqual(events, [["snapshot", { a: "ä\n" }], ["instance-added", { id: "x" }]]);
  }
});

test("what is invisible is spelled out", () => {
  assert.equal(visible("a\u202eexe.\u200b\u0007b\nc"), "a\\u202eexe.\\u200b\\u0007b ↵ c");
  assert.equal(visible("<b>ünï</b>"), "<b>ünï</b>");
});

test("what a member proves is told in a few words", () => {
  const proven = { certificate: "0f", authority: "ab", until: 1799971200, ready: true };
  assert.equal(T.identity.short(proven), "signs, until 2027-01-15");
  assert.equal(T.identity.short({ ...proven, ready: false }), "not believed, until 2027-01-15");
  assert.equal(T.identity.short({ certificate: null, authority: null, until: null, ready: false }), "signs nothing");
  assert.equal(T.identity.title(proven), "certificate 0f of authority ab; ready for identity = require");
});

test("counts and times are as people read them", () => {
  assert.equal(many(1, "member"), "1 member");
  assert.equal(many(1234, "policy", "policies"), "1\u2009234 policies");
  assert.equal(number(12), "12");
  assert.deepEqual([0, 59, 60, 3599, 3600, 90000].map(age), ["now", "59 s", "1 min", "59 min", "1 h", "1 d"]);
  assert.match(clock(1000, 1e9), /^1970-01-01 /);
  assert.match(clock(1000, 1001), /^\d\d:\d\d:\d\d$/);
  assert.deepEqual([null, 0.0003, 0.0123].map(trip), ["–", "0.30 ms", "12 ms"]);
});

test("a place goes into the URL and comes back", () => {
  for (const [page, name, query] of [["overview", "", {}], ["service", "a/b?c#d %", { q: "tag:v2 ü", instance: "al/pha=1" }]]) {
    assert.deepEqual(parse(hash(page, name, query)), { page, name, query });
  }
  assert.deepEqual(parse(""), { page: "overview", name: "", query: {} });
  for (const unknown of ["#/nowhere", "#/constructor", "#/nowhere/x?q=y"]) assert.deepEqual(parse(unknown), parse(""));
  assert.equal(parse("#/service").page, "services");
  assert.equal(parse("#/service/%E0%A4%A").name, "%E0%A4%A");
  assert.equal(hash("services", "", { q: "", state: "down" }), "#/services?state=down");
});

test("a search has words and terms", () => {
  const service = { name: "orders", instances: new Map([["a", instance("a")], ["b", instance("b", { zone: "south", tags: ["v2"] })]]) };
  const yes = (text) => matchesService(service, parseSearch(text));
  assert.ok(yes(""));
  assert.ok(yes("RDE zone:south tag:v2"));
  assert.ok(!yes("zone:south tag:v1"), "one instance has to have both");
  assert.ok(!yes("users"));
  assert.ok(yes("tag:"), "a term that is being typed asks for nothing");
  assert.ok(matchesInstance(instance("x-1", { reason: "http: 500" }), parseSearch("500 meta:team=red health:pass")));
  assert.ok(!matchesInstance(instance("x-1"), parseSearch("owner:beta")));
  assert.ok(matchesInstance(instance("x-1"), parseSearch("10.0.0.1:80")));
  assert.ok(matchesMember({ name: "alpha", address: "10.0.0.1:7940", zone: "north" }, parseSearch("alp zone:nor")));
});

test("services are filtered by the health of their instances", () => {
  const summary = { total: 2, able: 1, passing: 1, warning: 0, critical: 1, maintenance: 0, contested: false };
  assert.ok(hasState(summary, "problems"));
  assert.ok(!hasState(summary, "down"));
  assert.ok(hasState(summary, "critical"));
  assert.ok(!hasState(summary, "maintenance"));
});

test("a split's shares are whole percents that add up to 100, and a border moves between its two", () => {
  assert.deepEqual(percents([1, 1, 1]), [34, 33, 33]);
  assert.deepEqual(percents([90, 10]), [90, 10]);
  assert.deepEqual(percents([0, 0]), [50, 50]);
  assert.deepEqual(moved([50, 30, 20], 0, 10), [60, 20, 20]);
  assert.deepEqual(moved([50, 30, 20], 1, -99), [50, 0, 50]);
  const service = { summary: { tags: ["v1", "v2"], zones: ["eu"] } };
  assert.deepEqual(labelsOf(service, "tag", { by: "tag", shares: { v0: 1, v2: 9 } }), ["v0", "v2", "v1"]);
});

test("a chart's line stays within its box, and leaves gaps out", () => {
  assert.equal(points([[0, 0], [50, null], [100, 4]], 0, 100), "0.0,34.0 180.0,2.0");
  assert.equal(points([], 0, 100), "");
  assert.deepEqual([812, 1536, 3 << 20].map(bytes), ["812 B/s", "1.5 KiB/s", "3.0 MiB/s"]);
});
