// The page's English, in one file for translation; and how texts of instances are made safe to read.

/** Characters that would hide or turn around what stands beside them. */
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** `text` with every invisible character spelled out: what an instance calls itself may be meant to deceive. */
export function visible(text) {
  return String(text).replace(HIDDEN, (found) =>
    found === "\n" ? " ↵ " : found === "\t" ? " " : `\\u${found.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** `count` with its noun: `1 member`, `2 members`. */
export function many(count, noun, plural = `${noun}s`) {
  return `${number(count)} ${count === 1 ? noun : plural}`;
}

/** A whole number with thin spaces between thousands. */
export function number(value) {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u2009");
}

export const HEALTH = {
  passing: { sign: "●", word: "passing" },
  warning: { sign: "▲", word: "warning" },
  critical: { sign: "✖", word: "critical" },
  maintenance: { sign: "■", word: "maintenance" },
};

export const STATUS = {
  alive: { sign: "●", word: "alive", tone: "passing" },
  draining: { sign: "◐", word: "draining", tone: "maintenance" },
  suspect: { sign: "▲", word: "suspect", tone: "warning" },
  failed: { sign: "✖", word: "failed", tone: "critical" },
  left: { sign: "○", word: "left", tone: "gone" },
};

export const T = {
  overview: "Overview",
  services: "Services",
  members: "Members",
  policies: "Policies",
  loading: "Loading …",
  live: "live",
  connecting: "connecting …",
  notConnected: (since, reason) => `Not connected since ${since}: ${reason}. What is shown is the state of then.`,
  neverConnected: (reason) => `Not connected: ${reason}.`,
  retryIn: (seconds) => `Next attempt in ${seconds} s.`,
  retryNow: "Try now",
  paused: "paused while hidden",
  noFetch: "the agent does not answer",
  streamEnded: "the agent ended the stream",
  silent: "nothing was heard for 40 s",
  allWell: (services, instances, members) =>
    `All is well: ${many(members, "member")} alive, ${many(services, "service")} with ${many(instances, "instance")}.`,
  problems: (count) => many(count, "problem"),
  since: (clock, age) => `since ${clock}, ${age}`,
  toDo: "What to do",
  token: {
    button: "Token",
    title: "This agent asks for a token",
    unknown: "The agent does not know this token.",
    noRead: (name) => `The token ${name} is not for reading: this page needs one with the scope read.`,
    hint: "It stays in this page's memory only: it is gone when the page is closed or loaded again.",
    label: "Token",
    use: "Use it",
    forget: "Forget the token",
    has: (name, scopes) => `Token ${name}: ${scopes.join(", ")}`,
  },
  search: {
    services: "Search services: name, or tag: zone: owner: id:",
    instances: "Search instances: id or address, or tag: zone: owner: meta:",
    members: "Search members: name, address or zone",
    policies: "Search policies: kind, service, instance or writer",
    shown: (shown, all, noun, plural) => (shown === all ? many(all, noun, plural) : `${number(shown)} of ${many(all, noun, plural)}`),
    none: "Nothing matches.",
  },
  filters: { all: "All", problems: "With problems", down: "None healthy" },
  columns: {
    service: "Service", instances: "Healthy", states: "By health", zones: "Zones", tags: "Tags", changed: "Since",
    health: "Health", id: "Instance", address: "Address", weight: "Weight", role: "Role", zone: "Zone", owner: "Owner",
    since: "Since", status: "Status", member: "Member", trip: "Round trip", load: "Instances",
    policy: "Kind", about: "About", says: "Effect", writer: "Set through", action: "Action",
  },
  policiesLead: "Rules that every node obeys, whichever node they were set through.",
  noPolicies: "No policy is in force.",
  unreadable: "not readable by this version",
  rates: { title: "The last 15 minutes", packets: "Gossip packets", bytes: "Gossip bytes", requests: "HTTP requests", trip: "Round trip, median" },
  split: {
    title: "Split the load", by: "Split by", tag: "by tag", zone: "by zone", set: "Set the split …",
    hint: "Drag a border, or move it with the arrow keys. Nothing changes before it is confirmed.",
    border: (left, right) => `Border between ${left} and ${right}`,
  },
  picks: {
    title: "How a caller would choose",
    hint: "The agent draws a hundred picks, as choosers in programs do. What failures a caller has met is known to that caller only.",
    strategy: "Strategy", zone: "Zone of the caller", tag: "Tag", role: "Role",
    strategies: { random: "at random, by weight", "round-robin": "round robin, by weight", "least-loaded": "least loaded of two" },
    anyZone: "from any zone", inZone: (zone) => `from ${zone}`,
    anyTag: "any tag", withTag: (tag) => `tag ${tag}`,
    anyRole: "any role", withRole: (role) => `role ${role}`,
    again: "Draw again",
    calls: "Calls",
    expected: (percent) => `in the long run ${percent} %`,
    drawn: (picks, chosen) => `${number(picks)} calls went to ${many(chosen, "instance")}. The mark on a bar is the share in the long run.`,
    none: "A caller would find no instance.",
    leftOut: (reasons) => `Not called: ${reasons}.`,
    reasons: {
      critical: "critical", maintenance: "in maintenance", "no port": "without a port", "another tag or role": "with another tag or role",
      "not offered": "not offered", "not drawn this time": "not drawn this time", "drained: weight 0": "of weight 0, drained",
      "in another zone": "in another zone",
    },
  },
  more: (count) => `And ${number(count)} more.`,
  confirm: {
    command: "Command line",
    request: "Request",
    cancel: "Cancel",
    done: (title) => `Done: ${title}.`,
    undo: "Undo",
  },
  before: (clock) => `before ${clock}`,
  noService: (name) => `No instance of ${name} is known to this agent.`,
  instancesOf: (name) => `Instances of ${name}`,
  noInstance: "This instance is gone.",
  weightSet: (weight, why) => `${number(weight)} set${why ? `; ${why}` : ""}`,
  noPort: "nothing to call",
  copy: "Copy",
  copied: "Copied",
  close: "Close",
  checks: "Checks",
  checksElsewhere: (owner) => `If it has checks, ${owner} runs them: the page of that agent has their last output.`,
  noChecks: "It has no checks: it can serve for as long as its owner lives.",
  outputHidden: "what it said is for a token with the scope checks",
  noOutput: "nothing yet",
  meta: "Meta",
  thisAgent: "this agent",
  timeline: "Changes in the last hour",
  noChanges: "Nothing has changed.",
};
