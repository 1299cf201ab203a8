// Each action has a request, a command line that does the same, and an undo where there is one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { instanceActions, memberActions, removePolicy, setSplit } from "./actions.js";
import { agentOption, commandLine } from "./command.js";
import { EVERY, mine, other, state } from "./every_action.js";

const done = (action, values = {}) => action.request({ ...Object.fromEntries(action.fields.map((each) => [each.name, each.value])), ...values });

test("a command line is taken by a shell as it is meant", () => {
  assert.equal(commandLine("forget", "a b"), "gossipreg forget 'a b'");
  assert.equal(commandLine("x", "it's", "$(rm)", ""), "gossipreg x 'it'\\''s' '$(rm)' ''");
});

test("a command line asks the agent whose page shows it", () => {
  const option = (url) => agentOption(new URL(url)).join(" ");
  assert.equal(option("http://127.0.0.1:8500/ui/"), "");
  assert.equal(option("http://10.0.0.6:8501/ui/"), "--http 10.0.0.6:8501");
  assert.equal(option("http://registry.example/ui/"), "--http registry.example:80");
  assert.equal(option("https://[fd00::1]:8500/ui/"), "--http https://[fd00::1]:8500");
  assert.equal(option("https://front.example/registry/ui/"), "", "a path of a proxy is none of an agent");
});

test("maintenance of an own instance is the owner's, of another a policy", () => {
  const own = instanceActions(mine, state)[0];
  assert.deepEqual(done(own, { reason: "new disk" }), { method: "PUT", path: "maintenance/a%2F1?reason=new%20disk" });
  assert.equal(own.scope, "write");
  const policy = instanceActions(other, state)[0];
  assert.deepEqual(done(policy, { reason: "x" }).body, { service: "orders", instance: "b", owner: "beta", maintenance: "x" });
  assert.equal(policy.scope, "policy");
  assert.deepEqual(policy.undo, { method: "DELETE", path: "policies/maintenance%3Aorders%40beta%3Ab" });
  const [hostile] = instanceActions({ ...other, id: "x/../../keys/0a1b2c3d" }, state);
  assert.equal(new URL(`http://a/api/v1/${hostile.undo.path}`).pathname.split("/").length, 5, "it leads to no other route");
  const out = instanceActions({ ...mine, health: "maintenance", reason: "disk" }, state)[0];
  assert.deepEqual(done(out), { method: "DELETE", path: "maintenance/a%2F1" });
  assert.deepEqual(out.undo, { method: "PUT", path: "maintenance/a%2F1?reason=disk" });
});

test("the undo of a weight is the weight before, or no policy", () => {
  const fresh = instanceActions(other, state)[1];
  assert.deepEqual(done(fresh, { weight: "5" }).body, { service: "orders", instance: "b", owner: "beta", weight: 5 });
  assert.deepEqual(fresh.undo, { method: "DELETE", path: "policies/weight%3Aorders%40beta%3Ab" });
  const policies = [{ key: "weight:orders:b", kind: "weight", service: "orders", instance: "b", owner: null, weight: 9 }];
  const again = instanceActions(other, { ...state, policies })[1];
  assert.deepEqual(again.undo.body, { service: "orders", instance: "b", weight: 9 });
  assert.equal(again.fields[0].value, "9");
});

test("only the owner removes an instance", () => {
  assert.deepEqual(done(instanceActions(mine, state)[2]), { method: "DELETE", path: "instances/a%2F1" });
  assert.match(instanceActions(other, state)[2].elsewhere, /agent of beta/);
});

test("a member is forgotten only once it has failed, and only this agent is drained", () => {
  assert.deepEqual(memberActions({ name: "beta", status: "alive" }, state), []);
  assert.deepEqual(done(memberActions({ name: "beta", status: "failed" }, state)[0]), { method: "DELETE", path: "members/beta" });
  assert.deepEqual(done(memberActions({ name: "alpha", status: "alive" }, state)[0]), { method: "PUT", path: "drain" });
});

test("a policy that was removed can be set again as it was", () => {
  const split = { key: "split:orders", kind: "split", service: "orders", by: "zone", shares: { eu: 1 } };
  assert.deepEqual(removePolicy(split).undo.body, { service: "orders", split: { eu: 1 }, by: "zone" });
  assert.equal(removePolicy({ key: "canary:orders" }).undo, null);
  assert.deepEqual(setSplit("orders", "zone", { eu: 2 }, split).undo.body, { service: "orders", split: { eu: 1 }, by: "zone" });
});

test("every action says what it does and whom it is for", () => {
  for (const action of EVERY) {
    assert.ok(action.label && action.title && action.effect, action.title);
    assert.ok(["write", "policy", "operator"].includes(action.scope), action.title);
    assert.ok(action.elsewhere || action.request({ weight: "1", reason: "r" }).path, action.title);
  }
});
