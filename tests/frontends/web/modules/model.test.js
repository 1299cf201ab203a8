// The registry follows the agent's events, and knows since when things are as they are.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Registry, stateOf } from "./model.js";

export const instance = (id, more = {}) => ({
  id, service: "orders", host: "10.0.0.1", port: 80, tags: [], meta: {}, weight: 1, role: null, term: 0, zone: "north",
  health: "passing", owner: "alpha", reason: "", sealed: false, stale: false, ...more,
});
const member = (name, more = {}) => ({ name, address: "10.0.0.1:7940", status: "alive", generation: 5000, incarnation: 0, zone: "", draining: false, ...more });

function begun(...instances) {
  const registry = new Registry();
  registry.apply("snapshot", { members: [member("alpha")], instances }, 100);
  return registry;
}

test("a snapshot replaces everything", () => {
  const registry = begun(instance("a"), instance("b", { service: "users" }));
  registry.apply("snapshot", { members: [], instances: [instance("c")] }, 200);
  assert.deepEqual([...registry.services.keys()], ["orders"]);
  assert.equal(registry.members.size, 0);
  assert.equal(registry.instanceCount, 1);
});

test("a service is there while it has an instance", () => {
  const registry = begun();
  registry.apply("instance-added", instance("a"), 101);
  assert.deepEqual(registry.services.get("orders").summary.able, 1);
  registry.apply("instance-changed", instance("a", { health: "critical", reason: "http: 500" }), 102);
  assert.equal(registry.services.get("orders").summary.able, 0);
  assert.equal(registry.services.get("orders").summary.critical, 1);
  registry.apply("instance-removed", instance("a"), 103);
  assert.equal(registry.services.size, 0);
  assert.deepEqual(registry.changes.map((each) => each.event), ["instance-added", "instance-changed", "instance-removed"]);
  assert.deepEqual(registry.changes[1].is, { health: "critical" });
});

test("two owners may have instances of one id", () => {
  const registry = begun(instance("a"), instance("a", { owner: "beta" }));
  assert.equal(registry.services.get("orders").summary.total, 2);
});

test("a state counts from the event that began it, and not from changes of other fields", () => {
  const registry = begun(instance("a"));
  assert.equal(registry.since(instance("a")), null);
  const sick = instance("a", { health: "critical" });
  registry.apply("instance-changed", sick, 110);
  registry.apply("instance-changed", { ...sick, weight: 5 }, 120);
  assert.equal(registry.since(sick), 110);
  assert.equal(registry.serviceSince(registry.services.get("orders")), 110);
});

test("the agent's account tells what began before the page was opened", () => {
  const sick = instance("a", { health: "critical" });
  const registry = begun(sick, instance("b"));
  registry.apply("member-failed", member("beta", { status: "failed" }), 100);
  registry.recall({
    complete_from: 10,
    since: { members: { beta: 40 }, instances: [{ service: "orders", owner: "alpha", id: "a", at: 50 }] },
    changes: [{ at: 30, event: "instance-added", service: "orders", owner: "alpha", id: "b", health: "passing" }],
  });
  assert.equal(registry.since(sick), 50);
  assert.equal(registry.since(instance("b")), 30);
  assert.equal(registry.memberSince(member("beta", { status: "failed" })), 40);
  assert.equal(registry.memberSince(member("alpha")), 5);
});

test("the record of a node is no service, and a draining member is told apart", () => {
  const registry = begun(instance("n", { service: "gossipreg.node" }));
  assert.equal(registry.services.size, 0);
  assert.equal(stateOf(member("a", { draining: true })), "draining");
  assert.equal(stateOf(member("a", { draining: true, status: "failed" })), "failed");
});

test("checks that flap are known until they are steady", () => {
  const registry = begun(instance("a"));
  const check = { service: "orders", instance: "a", check: "http", health: "critical" };
  registry.apply("check-flapping", check, 105);
  assert.equal([...registry.flapping.values()][0].at, 105);
  registry.apply("check-steady", check, 106);
  assert.equal(registry.flapping.size, 0);
});

test("ten thousand instances of a thousand services are taken in within a fraction of a second of work", () => {
  const instances = Array.from({ length: 10000 }, (_, place) => instance(`i-${place}`, { service: `s-${place % 1000}` }));
  const registry = begun(...instances);
  assert.equal(registry.services.size, 1000);
  assert.equal(registry.services.get("s-7").summary.total, 10);
});
