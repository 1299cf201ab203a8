// The page of one service: its instances, each with all that callers and operators want to know of it.

import { FilterBar } from "./bars.js";
import { badge, el, fill, given, named, say } from "./dom.js";
import { matchesInstance, parseSearch } from "./filter.js";
import { InstancePanel, addressOf } from "./instance.js";
import { VirtualList, cell } from "./list.js";
import { keyOf } from "./model.js";
import { Picks } from "./picks.js";
import { hash } from "./route.js";
import { chips } from "./services.js";
import { SplitEditor } from "./split.js";
import { HEALTH, T, number } from "./text.js";
import { age, clock } from "./time.js";
import { Timeline } from "./timeline.js";

const COLUMNS = [
  { name: "health", label: T.columns.health, sort: "health" },
  { name: "id", label: T.columns.id, sort: "id" },
  { name: "address", label: T.columns.address },
  { name: "weight", label: T.columns.weight, sort: "weight" },
  { name: "role", label: T.columns.role, class: "role" },
  { name: "zone", label: T.columns.zone, sort: "zone", class: "zone" },
  { name: "owner", label: T.columns.owner, sort: "owner", class: "owner" },
  { name: "since", label: T.columns.since, sort: "since", class: "since" },
];

const GRAVITY = ["maintenance", "critical", "warning", "passing"];
const STATED_MS = 4000; // how often the weights that owners stated are asked for

export class ServicePage {
  #stated = new Map(); // by owner and id
  #askedAt = 0;

  constructor(app, name) {
    this.app = app;
    this.name = name;
    this.title = name;
    this.heading = el("h1", { tabindex: -1 }, given(name));
    this.summary = el("p", { class: "lead" });
    this.bar = new FilterBar({
      label: T.search.instances,
      filters: [["", T.filters.all], ["problems", T.filters.problems]],
      change: (query) => app.refine(query),
    });
    this.panel = new InstancePanel(app, () => app.refine({ instance: "" }));
    this.panel.element.hidden = true;
    this.list = new VirtualList({
      name: "instances", label: T.instancesOf(name), columns: COLUMNS, key: keyOf,
      make: (element) => this.#row(element), onSort: (sort) => app.refine({ sort }),
    });
    this.none = el("p", { class: "none" });
    this.picks = new Picks(app, name);
    this.split = new SplitEditor(app, name);
    this.timeline = new Timeline(app, name);
    this.element = el("section", {}, el("p", { class: "crumb" }, el("a", { href: hash("services") }, T.services)), this.heading,
      this.summary, this.panel.element, this.bar.element, this.list.element, this.none, this.picks.element, this.split.element, this.timeline.element);
  }

  destroy() {
    this.list.destroy();
  }

  render(route) {
    const { registry } = this.app;
    const service = registry.services.get(this.name);
    const instances = [...(service?.instances.values() ?? [])];
    const search = parseSearch(route.query.q ?? "");
    const found = instances.filter((each) => matchesInstance(each, search)
      && (route.query.state !== "problems" || each.health !== "passing" || each.role === "fenced"));
    const sort = route.query.sort ?? "health";
    found.sort(this.#order(sort));
    if (service) fill(this.summary, `${number(service.summary.able)} of ${number(service.summary.total)} can serve `, chips(service.summary));
    else fill(this.summary, registry.known ? given(T.noService(this.name)) : T.loading);
    this.bar.show(route.query, found.length, instances.length, "instance");
    this.list.sortedBy(sort);
    this.list.set(found);
    say(this.none, service && !found.length ? T.search.none : "");
    this.#panel(service, route.query.instance);
    this.picks.render(service);
    this.split.render();
    this.timeline.render();
    this.#askStated();
  }

  #panel(service, wanted) {
    const instance = wanted && service
      && (service.instances.get(wanted) ?? [...service.instances.values()].find((each) => each.id === wanted));
    this.panel.element.hidden = !instance;
    if (instance) this.panel.show(instance, this.#stated.get(keyOf(instance)));
  }

  /** Ask now and then for the weights that owners stated: events tell only those in effect. */
  async #askStated() {
    if (Date.now() - this.#askedAt < STATED_MS || document.hidden || this.app.api.isDown) return;
    this.#askedAt = Date.now();
    try {
      const { instances } = await this.app.api.get(`services/${encodeURIComponent(this.name)}?all&stated`);
      this.#stated = new Map(instances.map((each) => [keyOf(each), each.stated_weight]));
      this.app.changed();
    } catch { /* the state of the connection says so */ }
  }

  #order(sort) {
    const { registry } = this.app;
    const byKey = (one, other) => (keyOf(one) < keyOf(other) ? -1 : 1);
    const orders = {
      id: (one, other) => one.id.localeCompare(other.id, "en", { numeric: true }),
      zone: (one, other) => one.zone.localeCompare(other.zone),
      owner: (one, other) => one.owner.localeCompare(other.owner),
      weight: (one, other) => other.weight - one.weight,
      since: (one, other) => (registry.since(other) ?? 0) - (registry.since(one) ?? 0),
      health: (one, other) => rank(one) - rank(other),
    };
    const order = orders[sort] ?? orders.health;
    return (one, other) => order(one, other) || byKey(one, other);
  }

  #row(element) {
    const link = el("a", { class: "name" });
    const names = ["health", "address", "weight", "role", "zone", "owner", "since", "note"];
    const cells = Object.fromEntries(names.map((name) => [name, cell(name)]));
    element.append(cells.health, cell("id", link, cells.note), cells.address, cells.weight, cells.role, cells.zone, cells.owner, cells.since);
    cells.note.removeAttribute("role");
    let [before, version] = [null, ""];
    return (instance) => {
      const { registry } = this.app;
      const since = registry.since(instance);
      const stated = this.#stated.get(keyOf(instance));
      const stamp = `${since} ${stated} ${Math.floor(this.app.now() / 10)}`;
      if (before === instance && version === stamp) return;
      [before, version] = [instance, stamp];
      element.className = `row ${instance.health}`;
      fill(cells.health, badge(HEALTH[instance.health]));
      link.href = hash("service", this.name, { ...this.app.route.query, instance: keyOf(instance) });
      fill(link, named(instance.id));
      fill(cells.note, instance.reason ? given(instance.reason, { class: "reason" }) : given(aside(instance)));
      fill(cells.address, given(addressOf(instance)));
      fill(cells.weight, number(instance.weight), stated !== undefined && stated !== instance.weight ? el("span", { class: "quiet" }, ` (set ${number(stated)})`) : null);
      fill(cells.role, instance.role ? given(instance.term ? `${instance.role} · ${instance.term}` : instance.role) : "");
      fill(cells.zone, given(instance.zone));
      fill(cells.owner, given(instance.owner));
      say(cells.since, since ? age(this.app.now() - since) : "");
      cells.since.title = since ? clock(since) : this.app.before();
    };
  }
}

function rank(instance) {
  return instance.role === "fenced" ? -1 : GRAVITY.indexOf(instance.health);
}

/** What an instance that is well says of itself: tags, then meta. */
function aside(instance) {
  return [...instance.tags, ...Object.entries(instance.meta).map(([name, value]) => `${name}=${value}`)].join("  ");
}
