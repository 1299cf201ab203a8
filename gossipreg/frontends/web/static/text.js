// The page's English, in one file for translation; and how texts of instances are made safe to read.

import { commandLine } from "./command.js";

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

function remedy(sentence) {
  return T.remedies.find(([about]) => about.test(sentence))?.[1] ?? "";
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
  noTimely: "the agent does not answer in time",
  ago: (age) => (age === "now" ? "" : `That was ${age} ago.`),
  trying: "Trying now.",
  retryIn: (seconds) => `Next attempt in ${seconds} s.`,
  retryNow: "Try now",
  paused: "paused while hidden",
  noFetch: "the agent does not answer",
  streamEnded: "the agent ended the stream",
  silent: "nothing was heard for 40 s",
  allWell: (services, instances, members) =>
    `All is well: ${many(members, "member")} alive, ${many(services, "service")} with ${many(instances, "instance")}.`,
  lastKnown: (services, instances, members) =>
    `Known last: ${many(members, "member")} alive, ${many(services, "service")} with ${many(instances, "instance")}.`,
  problems: (count) => many(count, "problem"),
  lastProblems: (count) => `Known last: ${many(count, "problem")}.`,
  early: (count) => `Perhaps something is wrong: ${many(count, "sign")} of it so far.`,
  since: (clock, age) => `since ${clock}, ${age}`,
  seenSince: (clock, age) => `seen since ${clock}, ${age}`,
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
  problem: {
    isolated: ({ name, address, silence }) => ({
      title: "This agent is isolated: it hears no other member",
      why: `Nothing was heard for ${Math.round(silence)} s, so its answers may be stale. It declares no member failed.`,
      todo: `Check the network of the host of ${name}: gossip goes by UDP and TCP to ${address}.`,
    }),
    notJoined: (failures) => ({
      title: "This agent has not joined the cluster", why: failures.join("; ") || "No seed has answered.",
      todo: "Check the addresses of the seeds, the key and the name of the cluster.",
    }),
    lastKnown: {
      title: "This agent answers from its snapshot", why: "It has reached no member since its start.",
      todo: "Check that one of its seeds is up and can be reached.",
    },
    nameConflict: (name, address) => ({
      title: `Another node is called ${name}`, why: `An older node at ${address} has the name: the others do not see what this one offers.`,
      todo: "Give one of them another name, and start it again.",
    }),
    panicked: {
      title: "Lookups are answered in a panic", why: "So many instances were lost at once that callers are given lost ones, too.",
      todo: "See which members failed: the network may be at fault.",
    },
    draining: (leaving) => ({
      title: leaving ? "This agent is leaving" : "This agent is draining", why: "Its instances get no new work.",
      todo: leaving ? "" : `End it with: ${commandLine("drain", "--end")}`,
    }),
    own: (sentence) => ({ title: sentence, todo: remedy(sentence) }),
    reported: (sentence, names) => ({ title: sentence, why: `Reported by ${names} about itself.`, todo: remedy(sentence) }),
    localHealth: (score) => ({
      title: `This agent's local health is ${score}, 0 is good`, why: "Its probes were answered late or not at all, so it is slower to declare others failed.",
      todo: "Check the load of its host.",
    }),
    failed: ({ name, address }) => ({
      title: `Member ${name} has failed`, why: `It was at ${address} and did not answer. Its instances are not called.`,
      todo: `Start it again; if it will not return: ${commandLine("forget", name)}`,
    }),
    silent: ({ name, address }) => ({
      title: `Member ${name} does not answer`, why: `It was asked just now at ${address}. It may be busy, paused or down, or the way there is lost.`,
      todo: "Wait some seconds: the members find out whether it has failed.",
    }),
    severalSilent: (names, count) => ({
      title: `${many(count, "member")} do not answer: ${names}`,
      why: "Perhaps by one cause: their hosts are down, or the network is split between them and this agent.",
      todo: "Wait some seconds: the members find out whether they have failed.",
    }),
    noneAnswers: (names, count) => ({
      title: `None of the other members answers: ${names}`,
      why: `All ${number(count)} at once: this agent is probably isolated.`,
      todo: "Check the network of this agent's host, if that lasts.",
    }),
    unanswered: (member, observers) => ({
      title: `Member ${member} did not answer the last ping of ${observers}`, why: "A packet may have been lost, or the way between them is.",
      todo: "Wait some seconds: if more pings are lost, the direction is named here.",
    }),
    suspect: ({ name, address }) => ({
      title: `Member ${name} is suspect`, why: `It does not answer at ${address}; it may be about to fail.`,
      todo: "Wait some seconds: it is confirmed or refuted.",
    }),
    lostTogether: (names, count) => ({
      title: `${many(count, "member")} were lost at one time: ${names}`,
      why: "Perhaps by one cause: their hosts went down together, or the network is split, and they go on by themselves.",
      todo: "See whether their hosts run. If they do, mend the network between: the sides become one again by themselves.",
    }),
    moreMembers: (count) => `${many(count, "more member")} failed or suspect`,
    membersDraining: (count, names) => ({ title: `${many(count, "member")} draining: ${names}`, why: "Their instances get no new work." }),
    linkLost: ({ from, to, both }) => ({
      title: both ? `Nothing passes between ${from} and ${to}` : `What ${from} sends to ${to} is lost`,
      why: both ? "Each answers the other through third members only, which also pass on what is new."
        : `${to} answers ${from} through other members only, which also pass on what is new; so both look alive.`,
      todo: `Look for a firewall or a route on the way from ${from} to ${to}: gossip goes by UDP and TCP.`,
    }),
    linkImpaired: ({ observer, member, link }) => ({
      title: `From ${observer} to ${member} not everything passes`, why: T.links[link],
      todo: "Let UDP and TCP through at the gossip port, in both directions; see the tunnels on the way for their MTU.",
    }),
    disagree: ({ member, status }, observers) => ({
      title: `Members disagree about ${member}`, why: `For ${observers} it is ${status}, for this agent it is not.`,
      todo: "If that lasts for more than some seconds, see the matrix on the page of the members.",
    }),
    noAnswer: (name, failure) => ({ title: `${name} does not tell what it observes`, why: `It is thought to be alive, but ${failure}.` }),
    versions: (known) => ({
      title: "Members run different versions", why: known, todo: "They work together. Upgrade the others, too: new features need all.",
    }),
    down: (name, why) => ({ title: `${name} has no instance that can serve`, why, todo: "See its instances: the reason stands with each." }),
    moreDown: (count) => `${many(count, "more service")} without an instance that can serve`,
    contested: (name, claims, count) => ({
      title: `Several instances claim to be the primary of ${name}`,
      why: `${claims} of a lower term ${count === 1 ? "is" : "are"} fenced: callers do not take ${count === 1 ? "it" : "them"} for the primary.`,
      todo: "Stop the old primary, or register it again as a replica.",
    }),
    hurt: (name, { able, total, warning }, why) => ({
      title: able < total ? `${name}: ${able} of ${total} instances can serve` : `${name}: ${many(warning, "instance")} with a warning`, why,
      todo: "See its instances: the reason stands with each.",
    }),
    moreHurt: (count) => `${many(count, "more service")} with instances that are not well`,
    otherReasons: (count) => `and ${many(count, "other reason")}`,
    mayPanic: (lost, percent) => `${lost} were lost with their members: callers with a panic threshold ${percent ? `above ${percent} % ` : ""}get lost ones, too.`,
    flaps: ({ check, instance, reason }) => ({
      title: `The check ${check} of ${instance} flaps`, why: reason || "It fails and recovers again and again, so it needs more successes than usual.",
      todo: "See what it says, and whether its timeout is too short.",
    }),
    idle: (key, why) => ({ title: `The policy ${key} has no effect`, why, todo: `If it is not needed any more: ${commandLine("policy", "remove", key)}` }),
    unreadable: ({ key, writer }) => ({
      title: `This agent cannot read the policy ${key}, and does not obey it`, why: `It was set through ${writer}, perhaps by a later version.`,
      todo: "Upgrade this agent, or remove the policy.",
    }),
  },
  /** What to do about a problem that an agent reports of itself, by what its sentence is about; the first that fits. */
  remedies: [
    [/the cell /, "None of its members answers the relays of this cell: look at the hosts there, and at the network between."],
    [/shown as stale/, "No agent of that region answers: look at the agents there, and at the network between."],
    [/clock/, "Synchronise the clock of its host, for example with NTP."],
    [/disk|directory|stored/, "Make room on the disk, or make the data directory writable: what is registered meanwhile is refused."],
    [/certificate|signs/, "Renew the certificate with gossipreg ca renew before it ends, and send SIGHUP."],
    [/\bkey\b/, `See the keys: ${commandLine("keys", "list")}`],
    [/cannot send.*refused/i, "Start the agent there again, if it has ended."],
    [/cannot send/, "Check the firewall and the routes of its host."],
    [/region/, "Give all nodes of one cluster the same region."],
    [/packets|streams/, "Let UDP and TCP through at the gossip port, in both directions."],
  ],
  links: {
    direct: "", streams_only: "Packets (UDP) do not pass, streams (TCP) do.", packets_only: "Streams (TCP) do not pass, packets (UDP) do.",
    small_packets: "Large packets do not pass.", outgoing_lost: "what is sent there is lost", incoming_lost: "nothing arrives from there",
  },
  idle: {
    noService: (service) => `${service} has no instance.`,
    noInstance: (service, id) => `No instance of ${service} is called ${id}.`,
    emptyShare: (by, labels) => `No instance with the ${by} ${labels} can serve: its share goes to the others.`,
  },
  matrix: {
    title: "Which member sees which",
    asking: "The members are being asked …",
    answered: (answered, asked) => `${answered} of ${many(asked, "member")} told what they observe.`,
    partly: (rows) => `Only rows and columns with a difference are shown (${number(rows)}).`,
    lost: ({ from, to, both }) => (both ? `Nothing passes between ${from} and ${to}.` : `What ${from} sends to ${to} is lost.`),
    corner: "sees →",
    self: "itself",
    noAnswer: (failure) => `no answer: ${failure}`,
    cell: (observer, member, status, link, trip) =>
      `${observer} sees ${member}: ${status}${link === "direct" ? "" : `, ${T.links[link]}`}${trip ? `, round trip ${trip}` : ""}`,
    legend: [["●", "alive"], ["▲", "suspect"], ["✖", "failed"], ["⇥", "what it sends there is lost"], ["⇤", "nothing arrives from there"], ["?", "unknown to it"]],
  },
  heat: {
    title: "Round trips between zones",
    hint: "The median of what the members of one zone measured to those of another.",
    corner: "from ↓ to →",
    none: "no zone",
    cell: (pairs, worst) => `${pairs}, at most ${worst}`,
  },
  access: {
    title: "Keys, cells and regions",
    short: "Keys",
    keys: "Keys of the gossip", tokens: "Tokens", cells: "Cells", regions: "Regions", identity: "Identity",
    notFor: (scope) => `This is for a token with the scope ${scope}.`,
    sealed: "Gossip is sealed. A key that a member does not hold keeps it out as soon as the others use it.",
    clear: "Gossip is in clear: there is no key.",
    noTokens: "This agent asks for no token.",
    noCells: "This cluster has no cells: all of its nodes are members of one another.",
    oneRegion: (name) => `This agent follows no other region; its own is ${name}.`,
    columns: {
      key: "Key", state: "State", heldBy: "Held by", usedBy: "Used by", until: "Given up", name: "Name", scopes: "Scopes", from: "From",
      expires: "Expires", region: "Region", age: "Confirmed", trip: "Round trip", services: "Services", agent: "Agent there",
      cell: "Cell", members: "Members", instances: "Instances", relays: "Relays to it",
    },
    failed: (count) => `${number(count)} failed`,
    primary: "primary", held: "held",
    notHeldBy: (names, more) => `not ${names}${more > 0 ? ` and ${number(more)} more` : ""}`,
    givenUp: (clock) => `at ${clock}`,
    accepted: "accepted", notAccepted: "not accepted",
    cluster: (writer) => `the cluster, through ${writer}`, file: "this agent's file",
    left: (age) => `in ${age}`, never: "never",
    own: "its own", connected: "connected", notConnected: "not connected", stale: "stale",
    noAge: "never", fresh: "now", followed: (services, followed) => `${services}, ${followed} followed`,
  },
  andMore: (listed, count) => `${listed} and ${number(count)} more`,
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
  identity: {
    short: ({ until, ready }) => until === null ? "signs nothing" : `${ready ? "signs, until" : "not believed, until"} ${new Date(until * 1000).toISOString().slice(0, 10)}`,
    title: ({ certificate, authority, ready }) =>
      `${certificate === null ? "no certificate" : `certificate ${certificate} of authority ${authority}`}; ${ready ? "ready" : "not ready"} for identity = require`,
  },
  timeline: "Changes in the last hour",
  noChanges: "Nothing has changed.",
};
