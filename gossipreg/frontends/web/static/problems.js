// Problems: what is wrong in the cluster as this agent sees it, since when, why, and what can be done.

import { hash } from "./route.js";
import { many } from "./text.js";
import { stateOf } from "./model.js";

const LEVELS = ["bad", "warn", "note"];
const LISTED_MAX = 40; // of one kind: the rest is counted, and found behind the link

/**
 * Every problem, the gravest and then the latest first, as `{key, level, title, why, todo, since, href}`.
 *
 * `state`: `registry`, `node` (as `/api/v1/node`, or null), `policies`, `unreadable`, `checks`, and `panicked`, whether
 * lookups were answered in a panic in the last minute.
 */
export function findProblems(state) {
  const found = [
    ...ofNode(state), ...ofMembers(state), ...ofServices(state), ...ofChecks(state), ...ofPolicies(state),
  ];
  const rank = (each) => LEVELS.indexOf(each.level);
  return found.sort((one, other) => rank(one) - rank(other) || (other.since ?? 0) - (one.since ?? 0)
    || (one.key < other.key ? -1 : 1));
}

function* ofNode({ node, panicked, registry }) {
  if (!node) return;
  const self = node.name;
  if (node.isolated) {
    yield { key: "isolated", level: "bad", title: "This agent is isolated: it hears no other member", since: lastEvent(registry, "node-isolated"),
      why: `Nothing was heard for ${Math.round(node.silence)} s, so its answers may be stale. It declares no member failed.`,
      todo: `Check the network of the host of ${self}: gossip goes by UDP and TCP to ${node.address}.` };
  }
  if (!node.joined) {
    const failures = Object.entries(node.join_failures).map(([seed, each]) => `${seed}: ${each.detail}`);
    yield { key: "joined", level: "bad", title: "This agent has not joined the cluster", since: node.generation / 1000,
      why: failures.join("; ") || "No seed has answered.", todo: "Check the addresses of the seeds, the key and the name of the cluster." };
  }
  if (node.serving_last_known) {
    yield { key: "last-known", level: "bad", title: "This agent answers from its snapshot", since: node.generation / 1000,
      why: "It has reached no member since its start.", todo: "Check that one of its seeds is up and can be reached." };
  }
  if (node.name_conflict) {
    yield { key: "name", level: "bad", title: `Another node is called ${self}`, since: null,
      why: `An older node at ${node.name_conflict} has the name: the others do not see what this one offers.`,
      todo: "Give one of them another name, and start it again." };
  }
  if (panicked) {
    yield { key: "panic", level: "bad", title: "Lookups are answered in a panic", since: null,
      why: "So many instances were lost at once that callers are given lost ones, too.", todo: "See which members failed: the network may be at fault." };
  }
  if (node.leaving || node.draining) {
    yield { key: "drain", level: "note", title: node.leaving ? "This agent is leaving" : "This agent is draining", since: null,
      why: "Its instances get no new work.", todo: node.leaving ? "" : "End it with: gossipreg drain --end" };
  }
  for (const sentence of node.problems) yield { key: `p ${sentence}`, level: "warn", title: sentence, since: null, why: "", todo: "" };
  for (const sentence of node.warnings) yield { key: `w ${sentence}`, level: "note", title: sentence, since: null, why: "", todo: "" };
  if (node.local_health > 0) {
    yield { key: "local-health", level: "note", title: `This agent's local health is ${node.local_health}, 0 is good`, since: null,
      why: "Its probes were answered late or not at all, so it is slower to declare others failed.", todo: "Check the load of its host." };
  }
}

function* ofMembers({ registry }) {
  const sick = [...registry.members.values()].filter((each) => each.status === "failed" || each.status === "suspect");
  for (const member of sick.slice(0, LISTED_MAX)) {
    const failed = member.status === "failed";
    yield { key: `m ${member.name}`, level: failed ? "bad" : "warn", title: `Member ${member.name} ${failed ? "has failed" : "is suspect"}`,
      since: registry.memberSince(member), href: hash("members", "", { q: member.name }),
      why: failed ? `It was at ${member.address} and did not answer. Its instances are not called.` : `It does not answer at ${member.address}; it may be about to fail.`,
      todo: failed ? `Start it again; if it will not return: gossipreg forget ${member.name}` : "Wait some seconds: it is confirmed or refuted." };
  }
  if (sick.length > LISTED_MAX) yield more(`${many(sick.length - LISTED_MAX, "more member")} failed or suspect`, "members", { state: "problems" });
  const draining = [...registry.members.values()].filter((each) => stateOf(each) === "draining");
  if (draining.length) {
    yield { key: "draining", level: "note", title: `${many(draining.length, "member")} draining: ${names(draining)}`, since: latest(draining, registry),
      why: "Their instances get no new work.", todo: "", href: hash("members", "", { state: "draining" }) };
  }
}

function* ofServices({ registry }) {
  const down = [], hurt = [], contested = [];
  for (const service of registry.services.values()) {
    const { able, total } = service.summary;
    if (able === 0) down.push(service);
    else if (able < total || service.summary.warning) hurt.push(service);
    if (service.summary.contested) contested.push(service);
  }
  for (const service of down.slice(0, LISTED_MAX)) {
    yield { key: `d ${service.name}`, level: "bad", title: `${service.name} has no instance that can serve`, since: registry.serviceSince(service),
      why: whySick(service), todo: "See its instances: the reason stands with each.", href: hash("service", service.name) };
  }
  if (down.length > LISTED_MAX) yield more(`${many(down.length - LISTED_MAX, "more service")} without an instance that can serve`, "services", { state: "down" });
  for (const service of contested.slice(0, LISTED_MAX)) {
    const claims = [...service.instances.values()].filter((each) => each.role === "fenced");
    yield { key: `c ${service.name}`, level: "bad", title: `Several instances claim to be the primary of ${service.name}`, since: lastEvent(registry, "role-contested", service.name),
      why: `${names(claims, "id")} of a lower term ${claims.length === 1 ? "is" : "are"} fenced: callers do not take ${claims.length === 1 ? "it" : "them"} for the primary.`,
      todo: "Stop the old primary, or register it again as a replica.", href: hash("service", service.name, { q: "role:fenced" }) };
  }
  for (const service of hurt.slice(0, LISTED_MAX)) {
    const { able, total, warning } = service.summary;
    yield { key: `h ${service.name}`, level: "warn", since: registry.serviceSince(service), href: hash("service", service.name, { state: "problems" }),
      title: able < total ? `${service.name}: ${able} of ${total} instances can serve` : `${service.name}: ${many(warning, "instance")} with a warning`,
      why: whySick(service), todo: "" };
  }
  if (hurt.length > LISTED_MAX) yield more(`${many(hurt.length - LISTED_MAX, "more service")} with instances that are not well`, "services", { state: "problems" });
}

function* ofChecks({ registry, checks }) {
  const flapping = new Map([...registry.flapping.values()].map((each) => [`${each.instance} ${each.check}`, each]));
  for (const each of checks) if (each.flapping) flapping.set(`${each.instance} ${each.name}`, { ...each, check: each.name, at: flapping.get(`${each.instance} ${each.name}`)?.at ?? null });
  for (const each of [...flapping.values()].slice(0, LISTED_MAX)) {
    yield { key: `f ${each.instance} ${each.check}`, level: "warn", title: `The check ${each.check} of ${each.instance} flaps`, since: each.at,
      why: each.reason || "It fails and recovers again and again, so it needs more successes than usual.", todo: "See what it says, and whether its timeout is too short.",
      href: hash("service", each.service, { instance: each.instance }) };
  }
}

function* ofPolicies({ registry, policies, unreadable }) {
  for (const policy of policies) {
    const why = whyIdle(policy, registry.services.get(policy.service));
    if (why) {
      yield { key: `y ${policy.key}`, level: "warn", title: `The policy ${policy.key} has no effect`, since: policy.at, why,
        todo: `If it is not needed any more: gossipreg policy remove ${policy.key}`, href: hash("policies") };
    }
  }
  for (const policy of unreadable) {
    yield { key: `u ${policy.key}`, level: "warn", title: `This agent cannot read the policy ${policy.key}, and does not obey it`, since: policy.at,
      why: `It was set through ${policy.writer}, perhaps by a later version.`, todo: "Upgrade this agent, or remove the policy.", href: hash("policies") };
  }
}

/** Why a policy changes nothing now; null if it does something. */
export function whyIdle(policy, service) {
  const instances = [...(service?.instances.values() ?? [])];
  if (!instances.length) return `${policy.service} has no instance.`;
  if (policy.kind !== "split") {
    const meant = instances.some((each) => each.id === policy.instance && (!policy.owner || policy.owner === each.owner));
    return meant ? null : `No instance of ${policy.service} is called ${policy.instance}.`;
  }
  const able = instances.filter((each) => each.health === "passing" || each.health === "warning");
  const empty = Object.entries(policy.shares).filter(([label, share]) => share > 0
    && !able.some((each) => (policy.by === "zone" ? each.zone === label : each.tags.includes(label))));
  if (!empty.length) return null;
  return `No instance with the ${policy.by} ${empty.map(([label]) => label).join(", ")} can serve: its share goes to the others.`;
}

function whySick(service) {
  const reasons = new Map();
  for (const each of service.instances.values()) {
    if (each.health !== "passing") reasons.set(each.reason || each.health, (reasons.get(each.reason || each.health) ?? 0) + 1);
  }
  const sorted = [...reasons].sort((one, other) => other[1] - one[1]);
  const told = sorted.slice(0, 2).map(([reason, count]) => (count > 1 ? `${count} × ${reason}` : reason));
  return told.join("; ") + (sorted.length > 2 ? `; and ${many(sorted.length - 2, "other reason")}` : "");
}

function lastEvent(registry, event, service = undefined) {
  return registry.changes.findLast((each) => each.event === event && (!service || each.service === service))?.at ?? null;
}

function latest(members, registry) {
  return members.map((each) => registry.memberSince(each)).reduce((one, other) => (other > (one ?? 0) ? other : one), null);
}

function names(some, field = "name") {
  const listed = some.slice(0, 3).map((each) => each[field]).join(", ");
  return some.length > 3 ? `${listed} and ${some.length - 3} more` : listed;
}

function more(title, page, query) {
  return { key: `more ${title}`, level: "warn", title, why: "", todo: "", since: 0.5, href: hash(page, "", query) };
}
