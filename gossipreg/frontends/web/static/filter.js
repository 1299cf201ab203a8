// Filters: what a search asks for, and which services, instances and members match it.

const FIELDS = ["tag", "zone", "owner", "id", "health", "role", "meta", "name"];

/** `web tag:v2` as its words and its terms by field. A field without a value, as while typing, asks for nothing. */
export function parseSearch(text) {
  const search = { words: [], terms: [] };
  for (const part of text.toLowerCase().split(/\s+/).filter(Boolean)) {
    const [, field, value] = /^(\w+):(.*)$/s.exec(part) ?? [];
    if (!FIELDS.includes(field)) search.words.push(part);
    else if (value) search.terms.push([field, value]);
  }
  return search;
}

const has = (text, part) => String(text ?? "").toLowerCase().includes(part);

/** Whether an instance has what one term asks for. */
function hasTerm(instance, [field, value]) {
  switch (field) {
    case "tag": return instance.tags.some((tag) => has(tag, value));
    case "zone": return has(instance.zone, value);
    case "owner": return has(instance.owner, value);
    case "id": return has(instance.id, value);
    case "health": return instance.health.startsWith(value);
    case "role": return has(instance.role, value);
    case "meta": return Object.entries(instance.meta).some(([key, each]) => has(`${key}=${each}`, value));
    default: return has(instance.service, value);
  }
}

/** Whether an instance matches: every word in its id, address or reason, and every term. */
export function matchesInstance(instance, search) {
  return search.terms.every((term) => hasTerm(instance, term)) && search.words.every((word) =>
    has(instance.id, word) || has(`${instance.host}:${instance.port}`, word) || has(instance.reason, word));
}

/** Whether a service matches: every word in its name, and one instance has all that the terms ask for. */
export function matchesService(service, search) {
  if (!search.words.every((word) => has(service.name, word))) return false;
  if (!search.terms.length) return true;
  for (const each of service.instances.values()) {
    if (search.terms.every((term) => hasTerm(each, term))) return true;
  }
  return false;
}

/** Whether a member matches: every word in its name, address or zone. */
export function matchesMember(member, search) {
  return search.words.every((word) => has(member.name, word) || has(member.address, word) || has(member.zone, word))
    && search.terms.every(([field, value]) => field !== "zone" || has(member.zone, value));
}

/** Whether a service's summary is of the state that a filter asks for. */
export function hasState(summary, state) {
  if (state === "problems") return summary.able < summary.total || summary.warning > 0 || summary.contested;
  if (state === "down") return summary.able === 0;
  return !(state in summary) || summary[state] > 0;
}
