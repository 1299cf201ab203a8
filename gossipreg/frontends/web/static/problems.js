// Problems: what is wrong in the cluster as this agent sees it, since when, why, and what can be done.

import { hash } from "./route.js";
import { T } from "./text.js";
import { stateOf } from "./model.js";
import { disagreements, impairedLinks, lostLinks, silentMembers, unansweredPings, versions } from "./observed.js";

const LEVELS = ["bad", "warn", "early", "note"]; // early: a sign of trouble that may pass
const LISTED_MAX = 40; // of one kind: the rest is counted, and found behind the link
const AT_ONCE = 5; // seconds between two members that were lost by one cause, perhaps
const LOST_MAX = 0.5; // share of a service's instances that are left, below which callers may panic

/**
 * Every problem, the gravest and then the latest first, as `{key, level, title, why, todo, since, isSeen, href}`.
 *
 * `state`: `registry`, `node` (as `/api/v1/node`, or null), `policies`, `unreadable`, `checks`, `observed` (as
 * `/api/v1/observations`, or null), `panicked`, whether lookups were answered in a panic in the last minute, and
 * `seen(key)`, since when a problem of that key is known.
 */
export function findProblems(state) {
  const found = [
    ...ofNode(state), ...ofMembers(state), ...ofUnsure(state), ...ofObservers(state), ...ofServices(state), ...ofChecks(state), ...ofPolicies(state),
  ];
  for (const each of found) {
    each.isSeen = each.since === null; // then it may be older than the page knows
    each.since ??= state.seen?.(each.key) ?? null;
  }
  const rank = (each) => LEVELS.indexOf(each.level);
  return found.sort((one, other) => rank(one) - rank(other) || (other.since ?? 0) - (one.since ?? 0)
    || (one.key < other.key ? -1 : 1));
}

/** Whether a problem counts as one: not what may pass, nor what may be meant. */
export const isGrave = ({ level }) => level === "bad" || level === "warn";

const made = (key, level, texts, more = {}) => ({ key, level, why: "", todo: "", since: null, ...texts, ...more });

function* ofNode({ node, panicked, registry, observed }) {
  if (!node) return;
  const begun = { since: node.generation / 1000 };
  if (node.isolated) yield made("isolated", "bad", T.problem.isolated(node), { since: lastEvent(registry, "node-isolated") });
  if (!node.joined) yield made("joined", "bad", T.problem.notJoined(Object.entries(node.join_failures).map(([seed, each]) => `${seed}: ${each.detail}`)), begun);
  if (node.serving_last_known) yield made("last-known", "bad", T.problem.lastKnown, begun);
  if (node.name_conflict) yield made("name", "bad", T.problem.nameConflict(node.name, node.name_conflict));
  if (panicked) yield made("panic", "bad", T.problem.panicked);
  if (node.leaving || node.draining) yield made("drain", "note", T.problem.draining(node.leaving));
  for (const sentence of node.problems) {
    const isTold = node.name_conflict && sentence.startsWith("the name ");
    if (!isTold && !isAboutFailed(sentence, registry) && (!observed || !isAboutLinks(sentence))) yield made(`p ${stable(sentence)}`, "warn", T.problem.own(sentence));
  }
  for (const sentence of node.warnings) yield made(`w ${sentence}`, "note", { title: sentence });
  if (node.local_health > 0) yield made("local-health", "note", T.problem.localHealth(node.local_health));
}

function* ofMembers({ registry }) {
  const failed = [...registry.members.values()].filter((each) => each.status === "failed");
  const href = hash("members", "", { state: "problems" });
  const single = [];
  for (const group of together(failed, registry)) {
    if (group.length === 1) single.push(...group);
    else yield made(`m ${group.map((each) => each.name).sort().join(" ")}`, "bad", T.problem.lostTogether(names(group), group.length), { since: registry.memberSince(group[0]), href });
  }
  for (const member of single.slice(0, LISTED_MAX)) {
    yield made(`m ${member.name}`, "bad", T.problem.failed(member), { since: registry.memberSince(member), href: hash("members", "", { q: member.name }) });
  }
  if (single.length > LISTED_MAX) yield more(T.problem.moreMembers(single.length - LISTED_MAX), "members", { state: "problems" });
  const draining = [...registry.members.values()].filter((each) => stateOf(each) === "draining");
  if (draining.length) {
    yield made("draining", "note", T.problem.membersDraining(draining.length, names(draining)), { since: latest(draining, registry), href: hash("members", "", { state: "draining" }) });
  }
}

/** Members that do not answer and may be about to fail: suspect ones, and those that were asked just now and are silent. */
function* ofUnsure({ registry, observed, node }) {
  const suspects = [...registry.members.values()].filter((each) => each.status === "suspect");
  const told = observed && node && !node.isolated ? observed : null;
  const silent = told ? silentMembers(told).map((name) => registry.members.get(name)).filter((each) => each?.status === "alive") : [];
  const unsure = [...suspects, ...silent];
  const level = suspects.length ? "warn" : "early";
  const since = suspects.length ? suspects.map((each) => registry.memberSince(each)).reduce((one, other) => Math.min(one ?? Infinity, other ?? Infinity)) : null;
  const more = { since: Number.isFinite(since) ? since : null, href: hash("members", "", { state: "problems" }) };
  if (unsure.length > 1) {
    const all = told && !told.observers.some(({ name, failure }) => name !== told.observer && !failure);
    yield made("unsure", level, (all ? T.problem.noneAnswers : T.problem.severalSilent)(names(unsure), unsure.length), more);
  } else if (suspects.length) {
    const [{ name }] = suspects;
    yield made(`m ${name}`, level, T.problem.suspect(suspects[0]), { ...more, href: hash("members", "", { q: name }) });
  } else if (silent.length) {
    yield made(`q ${silent[0].name}`, level, T.problem.silent(silent[0]), { href: hash("members", "", { q: silent[0].name }) });
  }
  if (!told) return;
  const doubted = new Set(unsure.map((each) => each.name));
  for (const { member, observers } of unansweredPings(told).slice(0, LISTED_MAX)) {
    if (doubted.has(member) || observers.every((name) => doubted.has(name)) || registry.members.get(member)?.status === "failed") continue;
    yield made(`e ${member}`, "early", T.problem.unanswered(member, names(observers.map((name) => ({ name })))), { href: hash("members") });
  }
}

/** Members that were lost at one time, the first lost first; one of which that is not known is by itself. */
function together(members, registry) {
  const timed = members.map((member) => ({ member, at: registry.memberSince(member) })).sort((one, other) => (one.at ?? 0) - (other.at ?? 0));
  const groups = [];
  let last = null;
  for (const { member, at } of timed) {
    if (at !== null && last !== null && at - last <= AT_ONCE) groups.at(-1).push(member);
    else groups.push([member]);
    last = at;
  }
  return groups;
}

function* ofObservers({ observed, node, registry }) {
  if (!observed || !node) return;
  const href = hash("members");
  const links = lostLinks(observed);
  for (const each of links.slice(0, LISTED_MAX)) yield made(`l ${each.from} ${each.to}`, "bad", T.problem.linkLost(each), { href });
  for (const each of impairedLinks(observed).slice(0, LISTED_MAX)) yield made(`i ${each.observer} ${each.member}`, "warn", T.problem.linkImpaired(each), { href });
  for (const each of disagreements(observed).slice(0, LISTED_MAX)) {
    yield made(`b ${each.member} ${each.status}`, "warn", T.problem.disagree(each, names(each.observers.map((name) => ({ name })))), { href });
  }
  const inTrouble = new Set(links.flatMap((each) => [each.from, each.to]));
  for (const { name, failure, silent } of observed.observers) {
    if (failure && !silent && !inTrouble.has(name)) yield made(`q ${name}`, "note", T.problem.noAnswer(name, failure), { href });
  }
  const reported = new Map();
  for (const { name, problems } of observed.observers) {
    if (name === node.name) continue;
    for (const sentence of problems.filter((each) => !isAboutLinks(each) && !isAboutFailed(each, registry) && !node.problems.includes(each))) reported.set(sentence, [...(reported.get(sentence) ?? []), name]);
  }
  for (const [sentence, by] of [...reported].slice(0, LISTED_MAX)) yield made(`o ${by[0]} ${stable(sentence)}`, "warn", T.problem.reported(sentence, names(by.map((name) => ({ name })))));
  const known = versions(observed);
  if (known.length > 1) yield made("versions", "note", T.problem.versions(known.map(([version, at]) => `${version} (${names(at.map((name) => ({ name })))})`).join(", ")));
}

/** Whether a sentence of an agent is about a link, which its observations tell more exactly. */
const isAboutLinks = (sentence) => sentence.includes("answer through others only");

/** Whether a sentence of an agent tells only that a member has failed, which is a problem of its own. */
const isAboutFailed = (sentence, registry) => [...registry.members.values()].some(({ status, address }) =>
  status === "failed" && sentence.startsWith(`cannot send to ${address}: `));

/** A sentence without its numbers: it is about the same, whatever they are now. */
const stable = (sentence) => sentence.replace(/\d+(\.\d+)?/g, "#");

function* ofServices({ registry }) {
  const down = [], hurt = [], contested = [];
  for (const service of registry.services.values()) {
    const { able, total } = service.summary;
    if (able === 0) down.push(service);
    else if (able < total || service.summary.warning) hurt.push(service);
    if (service.summary.contested) contested.push(service);
  }
  for (const service of down.slice(0, LISTED_MAX)) {
    yield made(`d ${service.name}`, "bad", T.problem.down(service.name, why(service, registry)), { since: registry.serviceSince(service), href: hash("service", service.name) });
  }
  if (down.length > LISTED_MAX) yield more(T.problem.moreDown(down.length - LISTED_MAX), "services", { state: "down" });
  for (const service of contested.slice(0, LISTED_MAX)) {
    const claims = [...service.instances.values()].filter((each) => each.role === "fenced");
    yield made(`c ${service.name}`, "bad", T.problem.contested(service.name, names(claims, "id"), claims.length),
      { since: lastEvent(registry, "role-contested", service.name), href: hash("service", service.name, { q: "role:fenced" }) });
  }
  for (const service of hurt.slice(0, LISTED_MAX)) {
    yield made(`h ${service.name}`, "warn", T.problem.hurt(service.name, service.summary, why(service, registry)),
      { since: registry.serviceSince(service), href: hash("service", service.name, { state: "problems" }) });
  }
  if (hurt.length > LISTED_MAX) yield more(T.problem.moreHurt(hurt.length - LISTED_MAX), "services", { state: "problems" });
}

function* ofChecks({ registry, checks }) {
  const flapping = new Map([...registry.flapping.values()].map((each) => [`${each.instance} ${each.check}`, each]));
  for (const each of checks) if (each.flapping) flapping.set(`${each.instance} ${each.name}`, { ...each, check: each.name, at: flapping.get(`${each.instance} ${each.name}`)?.at ?? null });
  for (const each of [...flapping.values()].slice(0, LISTED_MAX)) {
    yield made(`f ${each.instance} ${each.check}`, "warn", T.problem.flaps(each), { since: each.at, href: hash("service", each.service, { instance: each.instance }) });
  }
}

function* ofPolicies({ registry, policies, unreadable }) {
  for (const policy of policies) {
    const idle = whyIdle(policy, registry.services.get(policy.service));
    if (idle) yield made(`y ${policy.key}`, "warn", T.problem.idle(policy.key, idle), { since: policy.at, href: hash("policies") });
  }
  for (const policy of unreadable) yield made(`u ${policy.key}`, "warn", T.problem.unreadable(policy), { since: policy.at, href: hash("policies") });
}

/** Why a policy changes nothing now; null if it does something. */
export function whyIdle(policy, service) {
  const instances = [...(service?.instances.values() ?? [])];
  if (policy.kind === "query") return null; // it may be about another region
  if (!instances.length) return T.idle.noService(policy.service);
  if (policy.kind !== "split") {
    const meant = instances.some((each) => each.id === policy.instance && (!policy.owner || policy.owner === each.owner));
    return meant ? null : T.idle.noInstance(policy.service, policy.instance);
  }
  const able = instances.filter((each) => each.health === "passing" || each.health === "warning");
  const empty = Object.entries(policy.shares).filter(([label, share]) => share > 0
    && !able.some((each) => (policy.by === "zone" ? each.zone === label : each.tags.includes(label))));
  return empty.length ? T.idle.emptyShare(policy.by, empty.map(([label]) => label).join(", ")) : null;
}

/** Why instances of a service cannot serve: the two most common reasons; and whether so many were lost that callers may panic. */
function why(service, registry) {
  const reasons = new Map();
  let lost = 0;
  for (const each of service.instances.values()) {
    if (each.health !== "passing") reasons.set(each.reason || each.health, (reasons.get(each.reason || each.health) ?? 0) + 1);
    if (registry.members.get(each.owner)?.status === "failed") lost += 1;
  }
  const sorted = [...reasons].sort((one, other) => other[1] - one[1]);
  const told = sorted.slice(0, 2).map(([reason, count]) => (count > 1 ? `${count} × ${reason}` : reason));
  const { able, total } = service.summary;
  const rest = sorted.length > 2 ? `; ${T.problem.otherReasons(sorted.length - 2)}` : "";
  return told.join("; ") + rest + (lost > 1 && able < LOST_MAX * total ? `. ${T.problem.mayPanic(lost, Math.round((100 * able) / total))}` : "");
}

function lastEvent(registry, event, service = undefined) {
  return registry.changes.findLast((each) => each.event === event && (!service || each.service === service))?.at ?? null;
}

function latest(members, registry) {
  return members.map((each) => registry.memberSince(each)).reduce((one, other) => (other > (one ?? 0) ? other : one), null);
}

function names(some, field = "name") {
  const listed = some.slice(0, 3).map((each) => each[field]).join(", ");
  return some.length > 3 ? T.andMore(listed, some.length - 3) : listed;
}

function more(title, page, query) {
  return made(`more ${title}`, "warn", { title }, { since: 0.5, href: hash(page, "", query) });
}
