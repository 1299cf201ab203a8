// What the members believe of each other, as the agent was told: the matrix, the links that are lost, the sides of a split.

const FULL_MAX = 40; // members up to which the whole matrix is shown; of more, the rows and columns with a difference
const ROWS_MAX = 40; // rows and columns that are shown of more

const collator = new Intl.Collator("en", { numeric: true });
const RANK = ["alive", "suspect", "failed", "unknown"];

/** The matrix: `{columns, rows, hidden, isWhole}`; a row is `{name, failure, differs, cells}`, a cell `{member, status, link, trip, differs}`. */
export function matrix(told, members) {
  const own = new Map([...members.values()].filter((each) => each.status !== "left").map((each) => [each.name, each.status]));
  own.set(told.observer, "alive");
  const lasting = told.differences.filter((each) => each.link !== "direct" || each.status !== (own.get(each.member) ?? "unknown"));
  const differences = new Map(lasting.map((each) => [`${each.observer} ${each.member}`, each]));
  const trips = new Map(told.round_trips.map((each) => [each.observer, each.members]));
  const zones = new Map([...members.values()].map((each) => [each.name, each.zone]));
  const byPlace = (one, other) => RANK.indexOf(own.get(one)) - RANK.indexOf(own.get(other))
    || collator.compare(zones.get(one) ?? "", zones.get(other) ?? "") || collator.compare(one, other);
  const names = [...new Set([...own.keys(), ...lasting.map((each) => each.member)])].sort(byPlace);
  const isWhole = names.length <= FULL_MAX;
  const differing = new Set(lasting.flatMap((each) => [each.observer, each.member]));
  const columns = isWhole ? names : names.filter((name) => differing.has(name)).slice(0, ROWS_MAX);
  const observers = told.observers.filter((each) => isWhole || each.failure || lasting.some((one) => one.observer === each.name));
  const rows = observers.sort((one, other) => byPlace(one.name, other.name)).map((observer) => {
    const cells = columns.map((member) => cellOf(observer, member, own, differences, trips));
    return { name: observer.name, failure: observer.failure, differs: cells.some((each) => each.differs), cells };
  });
  return { columns, rows: rows.slice(0, ROWS_MAX), hidden: Math.max(0, rows.length - ROWS_MAX), isWhole };
}

function cellOf(observer, member, own, differences, trips) {
  if (observer.name === member) return { member, status: "self", link: "direct", trip: null, differs: false };
  if (observer.failure) return { member, status: "none", link: "direct", trip: null, differs: false };
  const found = differences.get(`${observer.name} ${member}`);
  const trip = trips.get(observer.name)?.[member] ?? null;
  return { member, status: found?.status ?? own.get(member) ?? "unknown", link: found?.link ?? "direct", trip, differs: Boolean(found) };
}

/** Links on which packets are lost: `{from, to, both}`; `both`: nothing passes in either direction. */
export function lostLinks(told) {
  const outgoing = new Map(), silent = new Set();
  for (const { observer, member, link } of told.differences) {
    if (link === "outgoing_lost") outgoing.set(`${observer} ${member}`, { from: observer, to: member });
    if (link === "incoming_lost") silent.add(`${observer} ${member}`);
  }
  const found = [...outgoing.values()].map((each) => ({ ...each, both: false }));
  for (const pair of silent) {
    const [observer, member] = pair.split(" ");
    if (outgoing.has(`${member} ${observer}`)) continue; // told from the other end already, with the direction
    const mutual = silent.has(`${member} ${observer}`);
    if (mutual && observer > member) continue; // once for both ends
    found.push({ from: member, to: observer, both: mutual });
  }
  return found.sort((one, other) => collator.compare(`${one.from} ${one.to}`, `${other.from} ${other.to}`));
}

/** Links on which some kinds of packets do not pass: `{observer, member, link}`. */
export function impairedLinks(told) {
  return told.differences.filter((each) => ["streams_only", "packets_only", "small_packets"].includes(each.link));
}

/** Members that were asked and are silent, except those of which a lost link is known: that says why. */
export function silentMembers(told) {
  const inTrouble = new Set(lostLinks(told).flatMap((each) => [each.from, each.to]));
  return told.observers.filter((each) => each.silent && !inTrouble.has(each.name)).map((each) => each.name);
}

/** Members that did not answer the last ping of others in time, where no more is known of the link: `{member, observers}`. */
export function unansweredPings(told) {
  const troubled = new Set(lostLinks(told).flatMap((each) => [`${each.from} ${each.to}`, `${each.to} ${each.from}`]));
  const found = new Map();
  for (const { observer, member, link, unanswered } of told.differences) {
    if (!unanswered || link !== "direct" || troubled.has(`${observer} ${member}`)) continue;
    found.set(member, [...(found.get(member) ?? []), observer]);
  }
  return [...found].map(([member, observers]) => ({ member, observers }));
}

/** Members of which observers believe another status than this agent: `{member, status, observers}`. */
export function disagreements(told) {
  const found = new Map();
  const unreliable = new Set(told.observers.filter((each) => each.failure).map((each) => each.name));
  const own = new Map(told.ownStatus ?? []);
  for (const { observer, member, status } of told.differences) {
    if (unreliable.has(observer) || status === (own.get(member) ?? "unknown") || observer === member) continue;
    const key = `${member} ${status}`;
    if (!found.has(key)) found.set(key, { member, status, observers: [] });
    found.get(key).observers.push(observer);
  }
  return [...found.values()];
}

/** The versions of the members that answered: `[[version, names], …]`, the most common first. */
export function versions(told) {
  const found = new Map();
  for (const { name, version, failure } of told.observers) {
    if (failure || !version) continue;
    if (!found.has(version)) found.set(version, []);
    found.get(version).push(name);
  }
  return [...found].sort((one, other) => other[1].length - one[1].length || collator.compare(one[0], other[0]));
}

/** Round trips between zones: `{zones, cells}`; a cell is `{from, to, median, worst, links, heat}` or null; heat is 0 to 5. */
export function heatMap(told) {
  const zones = [...new Set(told.zones.flatMap((each) => [each.from, each.to]))].sort(collator.compare);
  const known = new Map(told.zones.map((each) => [`${each.from}\n${each.to}`, each]));
  const cells = zones.map((from) => zones.map((to) => {
    const found = known.get(`${from}\n${to}`);
    return found ? { ...found, heat: heatOf(found.median) } : null;
  }));
  return { zones, cells };
}

/** How hot a round trip is: 0 up to half a millisecond, and one more for each factor of four, 5 at most. */
export function heatOf(seconds) {
  return Math.max(0, Math.min(5, Math.ceil(Math.log(seconds / 0.0005) / Math.log(4))));
}
