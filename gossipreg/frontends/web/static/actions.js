// Actions: what a viewer may have done, each as its API request and as the command line that does the same.
//
// An action has `label`, `title`, `effect`, the `scope` that a token needs, `fields` to fill in, `request(values)` and
// `command(values)`, and `undo`, the request that takes it back, if there is one. `elsewhere`: only its command can do it.

import { commandLine } from "./command.js";
import { stateOf } from "./model.js";

const path = (...parts) => parts.map(encodeURIComponent).join("/");
// As one part: an instance may have "/../" in its id, and so a policy in its key, which must not lead elsewhere.
const policyPath = (key) => `policies/${encodeURIComponent(key)}`;
const reasonField = { name: "reason", label: "Reason, which all nodes show", type: "text", value: "", max: 160 };

/** What can be done about an instance. `state`: `node`, `policies`, `registry`. */
export function instanceActions(instance, state) {
  const mine = instance.owner === state.node?.name;
  return [maintenance(instance, mine, state), weight(instance, state), deregister(instance, mine)];
}

function policyOf(instance, kind, { policies }) {
  const about = (each) => each.kind === kind && each.service === instance.service && each.instance === instance.id;
  return policies.find((each) => about(each) && each.owner === instance.owner) ?? policies.find((each) => about(each) && !each.owner);
}

function maintenance(instance, mine, state) {
  const { id, service, owner } = instance;
  const ruled = policyOf(instance, "maintenance", state);
  if (ruled) return removePolicy(ruled, "End maintenance");
  const own = `maintenance/${path(id)}`;
  if (mine && instance.health === "maintenance") {
    return {
      label: "End maintenance", title: `End the maintenance of ${id}`, effect: "Its checks decide again whether it is called.",
      scope: "write", fields: [], request: () => ({ method: "DELETE", path: own }), command: () => commandLine("maintenance", id, "--end"),
      undo: { method: "PUT", path: `${own}?reason=${encodeURIComponent(instance.reason)}` },
    };
  }
  const common = {
    label: "Maintenance", title: `Put ${id} into maintenance`, fields: [reasonField],
    effect: "Callers get it no more, whatever its checks find, until the maintenance is ended.",
  };
  if (mine) {
    return {
      ...common, scope: "write", undo: { method: "DELETE", path: own },
      request: ({ reason }) => ({ method: "PUT", path: reason ? `${own}?reason=${encodeURIComponent(reason)}` : own }),
      command: ({ reason }) => commandLine("maintenance", id, ...(reason ? ["--reason", reason] : [])),
    };
  }
  return {
    ...common, scope: "policy", undo: { method: "DELETE", path: policyPath(`maintenance:${service}@${owner}:${id}`) },
    request: ({ reason }) => ({ method: "PUT", path: "policies", body: { service, instance: id, owner, maintenance: reason } }),
    command: ({ reason }) => commandLine("policy", "set", service, "--instance", id, "--owner", owner, "--maintenance", reason),
  };
}

function weight(instance, state) {
  const { id, service, owner } = instance;
  const before = policyOf(instance, "weight", state);
  const owned = before?.owner ?? (before ? null : owner);
  const about = { service, instance: id, ...(owned ? { owner: owned } : {}) };
  const key = owned ? `weight:${service}@${owned}:${id}` : `weight:${service}:${id}`;
  return {
    label: "Weight", title: `Change the weight of ${id}`, scope: "policy",
    effect: "Its share of the calls on every node, in place of what its owner stated. 0: it gets no new work.",
    fields: [{ name: "weight", label: "Weight, 0 to 65535", type: "number", value: String(before?.weight ?? instance.weight), min: 0, max: 65535 }],
    request: (values) => ({ method: "PUT", path: "policies", body: { ...about, weight: Number(values.weight) } }),
    command: (values) => commandLine("weight", id, values.weight, "--service", service, ...(owned ? ["--owner", owned] : [])),
    undo: before ? { method: "PUT", path: "policies", body: { ...about, weight: before.weight } } : { method: "DELETE", path: policyPath(key) },
  };
}

function deregister({ id, owner }, mine) {
  const made = {
    label: "Deregister", title: `Deregister ${id}`, scope: "write", danger: true, fields: [],
    effect: "It is removed everywhere at once. There is no undo: its program has to register it again.",
  };
  if (mine) {
    return { ...made, request: () => ({ method: "DELETE", path: `instances/${path(id)}` }), command: () => commandLine("deregister", id) };
  }
  return {
    ...made, elsewhere: `Only its owner removes it: this command asks the agent of ${owner}.`,
    command: () => commandLine("deregister", id, "--owner", owner),
  };
}

/** What can be done about a member. */
export function memberActions(member, { node }) {
  if (member.name === node?.name) return [node.draining ? endDrain() : drain(node)];
  if (stateOf(member) !== "failed") return [];
  return [{
    label: "Forget", title: `Forget ${member.name}`, scope: "operator", danger: true, fields: [],
    effect: "Every node removes it at once, with its instances, and tries no longer to reach it. If it is alive after all, it is back when it is heard.",
    request: () => ({ method: "DELETE", path: `members/${path(member.name)}` }), command: () => commandLine("forget", member.name),
  }];
}

function drain({ name }) {
  return {
    label: "Drain", title: `Drain ${name}`, scope: "operator", fields: [], undo: { method: "DELETE", path: "drain" },
    effect: "All nodes give the instances of this agent the weight 0: they get no new work. It stays a member.",
    request: () => ({ method: "PUT", path: "drain" }), command: () => commandLine("drain"),
  };
}

function endDrain() {
  return {
    label: "End drain", title: "End the drain of this agent", scope: "operator", fields: [], undo: { method: "PUT", path: "drain" },
    effect: "Its instances get the weights back that they were registered with.",
    request: () => ({ method: "DELETE", path: "drain" }), command: () => commandLine("drain", "--end"),
  };
}

/** The request that sets a policy as it stands. */
export function policyBody(policy) {
  const { service, kind } = policy;
  if (kind === "split") return { service, split: policy.shares, by: policy.by };
  const about = { service, instance: policy.instance, ...(policy.owner ? { owner: policy.owner } : {}) };
  return kind === "weight" ? { ...about, weight: policy.weight } : { ...about, maintenance: policy.reason };
}

/** Removing a policy; one that this version can read can be set again. */
export function removePolicy(policy, label = "Remove") {
  return {
    label, title: `Remove the policy ${policy.key}`, scope: "policy", danger: label === "Remove", fields: [],
    effect: "No node obeys it any more.",
    request: () => ({ method: "DELETE", path: policyPath(policy.key) }), command: () => commandLine("policy", "remove", policy.key),
    undo: policy.kind && policy.kind !== "query" ? { method: "PUT", path: "policies", body: policyBody(policy) } : null,
  };
}

/** Splitting a service's load: `shares` by tag or zone. `before`: the split in force, if there is one. */
export function setSplit(service, by, shares, before) {
  const labels = Object.entries(shares).flatMap(([label, share]) => ["--split", `${label}=${share}`]);
  return {
    label: "Set the split", title: `Split the load of ${service}`, scope: "policy", fields: [],
    effect: `By ${by}: ${Object.entries(shares).map(([label, share]) => `${label} ${share}`).join(", ")}. Every node obeys it within moments.`,
    request: () => ({ method: "PUT", path: "policies", body: { service, split: shares, by } }),
    command: () => commandLine("policy", "set", service, ...labels, ...(by === "zone" ? ["--by", "zone"] : [])),
    undo: before ? { method: "PUT", path: "policies", body: policyBody(before) } : { method: "DELETE", path: policyPath(`split:${service}`) },
  };
}
