// The list of members, as this agent believes them to be.

import { memberActions } from "./actions.js";
import { FilterBar } from "./bars.js";
import { buttons } from "./confirm.js";
import { badge, el, fill, given, named, say } from "./dom.js";
import { matchesMember, parseSearch } from "./filter.js";
import { VirtualList, cell } from "./list.js";
import { Matrix } from "./matrix.js";
import { stateOf } from "./model.js";
import { hash } from "./route.js";
import { STATUS, T, number } from "./text.js";
import { age, clock, trip } from "./time.js";

const COLUMNS = [
  { name: "status", label: T.columns.status, sort: "status" },
  { name: "member", label: T.columns.member, sort: "name" },
  { name: "address", label: T.columns.address },
  { name: "zone", label: T.columns.zone, sort: "zone", class: "zone" },
  { name: "trip", label: T.columns.trip, sort: "trip", class: "trip" },
  { name: "load", label: T.columns.load, class: "load" },
  { name: "since", label: T.columns.since, sort: "since", class: "since" },
  { name: "act", label: T.columns.action, class: "act" },
];

const ORDER = ["failed", "suspect", "draining", "alive", "left"];
const TRIPS_MS = 5000; // how often round trips are asked for

export class Members {
  title = T.members;
  #trips = new Map(); // seconds by member
  #identities = new Map(); // what members prove of themselves, where the agent has an identity
  #askedAt = 0;

  constructor(app) {
    this.app = app;
    this.heading = el("h1", { tabindex: -1 }, T.members);
    this.bar = new FilterBar({
      label: T.search.members,
      filters: [["", "Present"], ["problems", T.filters.problems], ["draining", "Draining"], ["left", "Left"]],
      change: (query) => app.refine(query),
    });
    this.list = new VirtualList({
      name: "members", label: T.members, columns: COLUMNS, key: (member) => member.name,
      make: (element) => this.#row(element), onSort: (sort) => app.refine({ sort }),
    });
    this.none = el("p", { class: "none" });
    this.matrix = new Matrix(app);
    this.element = el("section", {}, this.heading, this.bar.element, this.list.element, this.none, this.matrix.element);
  }

  destroy() {
    this.list.destroy();
  }

  render(route) {
    const { registry } = this.app;
    const search = parseSearch(route.query.q ?? "");
    const state = route.query.state ?? "";
    const found = [...registry.members.values()].filter((each) => matchesMember(each, search) && isIn(state, stateOf(each)));
    const sort = route.query.sort ?? "status";
    this.owned = owned(registry);
    found.sort(this.#order(sort));
    this.bar.show(route.query, found.length, registry.members.size, "member");
    this.list.sortedBy(sort);
    this.list.set(found);
    say(this.none, registry.known ? (found.length ? "" : T.search.none) : T.loading);
    this.matrix.render();
    this.#askTrips();
  }

  async #askTrips() {
    if (Date.now() - this.#askedAt < TRIPS_MS || document.hidden || this.app.api.isDown) return;
    this.#askedAt = Date.now();
    try {
      const { members } = await this.app.api.get("members");
      this.#trips = new Map(members.map((each) => [each.name, each.round_trip]));
      this.#identities = new Map(members.map((each) => [each.name, each.identity]));
      this.app.changed();
    } catch { /* the state of the connection says so */ }
  }

  #order(sort) {
    const { registry } = this.app;
    const byName = (one, other) => one.name.localeCompare(other.name, "en", { numeric: true });
    const orders = {
      name: byName,
      zone: (one, other) => one.zone.localeCompare(other.zone),
      trip: (one, other) => (this.#trips.get(other.name) ?? -1) - (this.#trips.get(one.name) ?? -1),
      since: (one, other) => (registry.memberSince(other) ?? 0) - (registry.memberSince(one) ?? 0),
      status: (one, other) => ORDER.indexOf(stateOf(one)) - ORDER.indexOf(stateOf(other)),
    };
    const order = orders[sort] ?? orders.status;
    return (one, other) => order(one, other) || byName(one, other);
  }

  #row(element) {
    const names = ["status", "member", "address", "zone", "trip", "load", "since", "act"];
    const cells = Object.fromEntries(names.map((name) => [name, cell(name)]));
    element.append(...Object.values(cells));
    const link = el("a", { class: "name" });
    let version = "";
    return (member) => {
      const { registry, node } = this.app;
      const since = registry.memberSince(member);
      const measured = this.#trips.get(member.name);
      const load = this.owned.get(member.name) ?? 0;
      const identity = this.#identities.get(member.name);
      const stamp = JSON.stringify([member, since, measured, load, identity, Math.floor(this.app.now() / 10), node?.name, node?.local_health, node?.draining, [...this.app.scopes]]);
      if (version === stamp) return;
      version = stamp;
      const kind = STATUS[stateOf(member)];
      const self = member.name === node?.name;
      element.className = `row ${kind.tone}`;
      fill(cells.status, badge(kind, kind.tone));
      link.href = hash("services", "", { q: `owner:${member.name}` });
      fill(link, named(member.name));
      fill(cells.member, link, self ? el("span", { class: "quiet" }, ` ${T.thisAgent}, ${node.version}, local health ${node.local_health}`) : null,
        identity ? el("span", { class: "quiet", title: T.identity.title(identity) }, ` ${T.identity.short(identity)}`) : null);
      fill(cells.address, given(member.address));
      fill(cells.zone, given(member.zone));
      say(cells.trip, self || kind === STATUS.failed ? "–" : trip(measured));
      say(cells.load, number(load));
      say(cells.since, since ? age(this.app.now() - since) : "");
      cells.since.title = since ? clock(since) : this.app.before();
      fill(cells.act, buttons(memberActions(member, this.app), this.app));
      for (const button of cells.act.children) button.classList.add("small");
    };
  }
}

function isIn(filter, state) {
  if (filter === "problems") return state === "failed" || state === "suspect";
  if (filter) return state === filter;
  return state !== "left";
}

/** How many instances each member owns. */
function owned(registry) {
  const counts = new Map();
  for (const service of registry.services.values()) {
    for (const { owner } of service.instances.values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  return counts;
}
