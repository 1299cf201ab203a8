// The list of services: how many instances of each are in which state of health.

import { FilterBar } from "./bars.js";
import { badge, el, fill, given, named, say } from "./dom.js";
import { hasState, matchesService, parseSearch } from "./filter.js";
import { VirtualList, cell } from "./list.js";
import { hash } from "./route.js";
import { HEALTH, T, number } from "./text.js";
import { age, clock } from "./time.js";

const COLUMNS = [
  { name: "service", label: T.columns.service, sort: "name" },
  { name: "healthy", label: T.columns.instances, sort: "healthy" },
  { name: "states", label: T.columns.states, class: "states" },
  { name: "zones", label: T.columns.zones, class: "zones" },
  { name: "tags", label: T.columns.tags, class: "tags" },
  { name: "since", label: T.columns.changed, sort: "since", class: "since" },
];

export class Services {
  title = T.services;

  constructor(app) {
    this.app = app;
    this.heading = el("h1", { tabindex: -1 }, T.services);
    this.bar = new FilterBar({
      label: T.search.services,
      filters: [["", T.filters.all], ["problems", T.filters.problems], ["down", T.filters.down]],
      change: (query) => app.refine(query),
    });
    this.list = new VirtualList({
      name: "services", label: T.services, columns: COLUMNS, key: (service) => service.name,
      make: (element) => this.#row(element), onSort: (sort) => app.refine({ sort }),
    });
    this.none = el("p", { class: "none" });
    this.element = el("section", {}, this.heading, this.bar.element, this.list.element, this.none);
  }

  destroy() {
    this.list.destroy();
  }

  render(route) {
    const { registry } = this.app;
    const search = parseSearch(route.query.q ?? "");
    const state = route.query.state ?? "";
    const found = [];
    for (const service of registry.services.values()) {
      if (matchesService(service, search) && (!state || hasState(service.summary, state))) found.push(service);
    }
    const sort = route.query.sort ?? "healthy";
    found.sort(this.#order(sort));
    this.bar.show(route.query, found.length, registry.services.size, "service");
    this.list.sortedBy(sort);
    this.list.set(found);
    say(this.none, registry.known ? (found.length ? "" : T.search.none) : T.loading);
  }

  /** By name; by the share that can serve, the least first; or by the latest change. */
  #order(sort) {
    const byName = (one, other) => (one.name < other.name ? -1 : 1);
    if (sort === "name") return byName;
    if (sort === "since") {
      const since = new Map([...this.app.registry.services.values()].map((each) => [each, this.app.registry.serviceSince(each) ?? 0]));
      return (one, other) => since.get(other) - since.get(one) || byName(one, other);
    }
    const rank = ({ summary }) => (summary.contested ? -1 : summary.able / summary.total - (summary.warning ? 0.001 : 0));
    return (one, other) => rank(one) - rank(other) || byName(one, other);
  }

  #row(element) {
    const link = el("a", { class: "name" });
    const count = el("span", { class: "figure" });
    const bar = el("span", { class: "share", "aria-hidden": "true" }, el("span"));
    const [states, zones, tags, since] = ["states", "zones", "tags", "since"].map((name) => cell(name));
    element.append(cell("service", link), cell("healthy", bar, count), states, zones, tags, since);
    let [shown, version] = [null, ""];
    return (service) => {
      const { summary } = service;
      const at = this.app.registry.serviceSince(service);
      const stamp = `${at} ${Math.floor(this.app.now() / 10)}`;
      if (shown === summary && version === stamp) return;
      [shown, version] = [summary, stamp];
      link.href = hash("service", service.name);
      fill(link, named(service.name));
      say(count, `${number(summary.able)} / ${number(summary.total)}`);
      bar.firstChild.style.width = `${(100 * summary.able) / summary.total}%`;
      element.classList.toggle("down", summary.able === 0);
      element.classList.toggle("hurt", summary.able > 0 && summary.able < summary.total);
      fill(states, chips(summary));
      fill(zones, given(summary.zones.join(" ")));
      fill(tags, given(summary.tags.join(" ")));
      say(since, at ? age(this.app.now() - at) : "");
      since.title = at ? clock(at) : "";
    };
  }
}

/** What is not passing, each with its count; and roles that are contested. */
export function chips(summary) {
  const made = ["critical", "warning", "maintenance"].filter((health) => summary[health]).map((health) =>
    badge({ sign: HEALTH[health].sign, word: `${number(summary[health])} ${health}` }, health));
  if (summary.contested) made.push(badge({ sign: "✖", word: "role contested" }, "critical"));
  return made.length ? made : [badge({ sign: HEALTH.passing.sign, word: "all passing" }, "passing")];
}
