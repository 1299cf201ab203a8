// The registry as the agent tells it: members, and services with their instances, changed by each event.

/** The service in which nodes state their own meta and checks. It is not one to call, so it is not listed. */
const NODE_SERVICE = "gossipreg.node";

export const keyOf = (instance) => `${instance.owner}/${instance.id}`;
const sinceKey = (instance) => `${instance.service}\n${keyOf(instance)}`;

/** The word for a member's state: draining is told apart from alive. */
export function stateOf(member) {
  return member.status === "alive" && member.draining ? "draining" : member.status;
}

/** One service: its instances by owner and id, and a summary, made when it is asked for. */
export class Service {
  #summary = null;

  constructor(name) {
    this.name = name;
    this.instances = new Map();
  }

  put(instance) {
    this.instances.set(keyOf(instance), instance);
    this.#summary = null;
  }

  drop(instance) {
    this.instances.delete(keyOf(instance));
    this.#summary = null;
  }

  /** How many instances are in each state of health, and the words by which they are found. */
  get summary() {
    return (this.#summary ??= summarize(this.instances.values()));
  }
}

function summarize(instances) {
  const made = { total: 0, able: 0, passing: 0, warning: 0, critical: 0, maintenance: 0, stale: 0, contested: false };
  const zones = new Set();
  const tags = new Set();
  let fenced = false;
  for (const each of instances) {
    made.total += 1;
    made[each.health] += 1;
    const able = each.health === "passing" || each.health === "warning";
    if (able) made.able += 1;
    if (each.stale) made.stale += 1;
    if (each.role === "fenced" && able) fenced = true;
    if (each.zone) zones.add(each.zone);
    for (const tag of each.tags) tags.add(tag);
  }
  return { ...made, contested: fenced, zones: [...zones].sort(), tags: [...tags].sort() };
}

/** All that is known. Times are of the agent's clock, in seconds since the epoch. */
export class Registry {
  members = new Map();
  services = new Map();
  flapping = new Map(); // "service instance check" -> since when
  known = false; // whether there was a snapshot
  changes = []; // of the last hour, the latest last
  completeFrom = null; // from when on none of them is missing
  #since = new Map(); // of instances: {health, at}
  #memberSince = new Map(); // of members: {state, at}

  /** Take in one event of the stream, which came at `now`. Returns the name of the service concerned, if there is one. */
  apply(name, data, now) {
    if (name === "snapshot") return this.#replace(data);
    const [what, kind] = name.split("-");
    if (what === "member") this.#member(data, now);
    if (what === "instance") this.#instance(kind, data, now);
    if (what === "check") {
      const key = `${data.service} ${data.instance} ${data.check}`;
      if (kind === "flapping") this.flapping.set(key, { ...data, at: now });
      else this.flapping.delete(key);
    }
    return data.service ?? null;
  }

  #replace(data) {
    this.known = true;
    this.members = new Map(data.members.map((member) => [member.name, member]));
    this.services = new Map();
    this.flapping = new Map();
    for (const instance of data.instances) this.#put(instance);
    return null;
  }

  #put(instance) {
    if (instance.service === NODE_SERVICE) return;
    let service = this.services.get(instance.service);
    if (!service) this.services.set(instance.service, (service = new Service(instance.service)));
    service.put(instance);
  }

  #member(member, now) {
    const before = this.members.get(member.name);
    if (!before || stateOf(before) !== stateOf(member)) {
      this.#memberSince.set(member.name, { state: stateOf(member), at: now });
    }
    this.members.set(member.name, member);
    this.changes.push({ at: now, event: `member-${member.status}`, member: member.name, ...member });
  }

  #instance(kind, instance, now) {
    if (instance.service === NODE_SERVICE) return;
    const service = this.services.get(instance.service);
    const before = service?.instances.get(keyOf(instance));
    if (kind === "removed") {
      service?.drop(instance);
      if (service && !service.instances.size) this.services.delete(service.name);
    } else {
      this.#put(instance);
      if (before?.health !== instance.health) this.#since.set(sinceKey(instance), { health: instance.health, at: now });
    }
    this.#note(kind, instance, before, now);
  }

  #note(kind, instance, before, now) {
    const [was, is] = [{}, {}];
    for (const field of ["health", "weight", "role", "term", "host", "port", "zone"]) {
      if (before && before[field] !== instance[field]) [was[field], is[field]] = [before[field], instance[field]];
    }
    const { service, owner, id, health, reason } = instance;
    this.changes.push({ at: now, event: `instance-${kind}`, service, owner, id, health, reason, was, is });
    if (this.changes.length > 6000) this.changes.splice(0, 1000);
  }

  /** Take in the agent's account of the last hour, which is as of the moment of the snapshot or later. */
  recall(history) {
    this.changes = history.changes;
    this.completeFrom = history.complete_from;
    for (const each of history.changes) {
      if (each.event === "instance-added" || (each.event === "instance-changed" && each.is?.health)) {
        this.#since.set(sinceKey(each), { health: each.health, at: each.at });
      }
      if (each.member) this.#memberSince.set(each.member, { state: stateOf(each), at: each.at });
    }
    for (const each of history.since.instances) {
      const instance = this.services.get(each.service)?.instances.get(keyOf(each));
      if (instance) this.#since.set(sinceKey(each), { health: instance.health, at: each.at });
    }
    for (const [name, at] of Object.entries(history.since.members)) {
      const member = this.members.get(name);
      if (member) this.#memberSince.set(name, { state: stateOf(member), at });
    }
  }

  /** Since when an instance has its health; null if that was before the agent's account begins. */
  since(instance) {
    const known = this.#since.get(sinceKey(instance));
    return known?.health === instance.health ? known.at : null;
  }

  /** Since when a member has its state; one that is simply alive, at the latest since it was started. */
  memberSince(member) {
    const known = this.#memberSince.get(member.name);
    if (known?.state === stateOf(member)) return known.at;
    return member.status === "alive" && !member.draining ? member.generation / 1000 : null;
  }

  /** Since when a service is as it is: the latest change of one of those that are not passing, or of all. */
  serviceSince(service) {
    let [latest, sick] = [null, null];
    for (const each of service.instances.values()) {
      const at = this.since(each);
      if (at === null) continue;
      if (latest === null || at > latest) latest = at;
      if (each.health !== "passing" && (sick === null || at > sick)) sick = at;
    }
    return sick ?? latest;
  }

  get instanceCount() {
    let count = 0;
    for (const service of this.services.values()) count += service.instances.size;
    return count;
  }
}
