// How a caller would choose: a hundred picks that the agent draws by the function that choosers call.

import { el, fill, given, say } from "./dom.js";
import { hash } from "./route.js";
import { T, many, number } from "./text.js";

const COUNT = 100;
const SHOWN_MAX = 30; // rows; the rest is counted

/** The query of what is asked for; what is left at its default is left out. */
export function picksPath(service, { strategy = "", zone = "", tag = "", role = "" }) {
  const query = new URLSearchParams({ count: COUNT });
  if (strategy && strategy !== "random") query.set("strategy", strategy);
  if (zone) query.set("caller_zone", zone);
  if (tag) query.set("tag", tag);
  if (role) query.set("role", role);
  return `picks/${encodeURIComponent(service)}?${query}`;
}

/** The rows to show: `{id, owner, zone, weight, picks, part, expected}`, where `part` is of the longest bar, 0 to 1. */
export function pickRows({ chosen, picks }) {
  const most = Math.max(1, ...chosen.map((each) => Math.max(each.picks, each.share * picks)));
  return chosen.slice(0, SHOWN_MAX).map((each) => ({ ...each, part: each.picks / most, expected: (each.share * picks) / most }));
}

export class Picks {
  #version = "";
  #asked = 0;

  constructor(app, service) {
    this.app = app;
    this.service = service;
    const choice = (label) => el("select", { "aria-label": label, on: { change: () => this.#draw() } });
    this.strategy = choice(T.picks.strategy);
    fill(this.strategy, Object.entries(T.picks.strategies).map(([value, word]) => el("option", { value }, word)));
    this.zone = choice(T.picks.zone);
    this.tag = choice(T.picks.tag);
    this.role = choice(T.picks.role);
    this.again = el("button", { type: "button", on: { click: () => this.#draw() } }, T.picks.again);
    this.lead = el("p", { class: "quiet" });
    this.rows = el("div");
    this.left = el("p", { class: "quiet" });
    this.element = el("details", { class: "picks", on: { toggle: () => this.#draw() } },
      el("summary", {}, el("h2", {}, T.picks.title)), el("p", { class: "quiet" }, T.picks.hint),
      el("div", { class: "bar" }, this.strategy, this.zone, this.tag, this.role, this.again), this.lead, this.rows, this.left);
  }

  /** Offer the zones, tags and roles that there are. */
  render(service) {
    this.element.hidden = !service;
    if (!service) return;
    const roles = [...new Set([...service.instances.values()].map((each) => each.role).filter(Boolean))].sort();
    const zones = new Set([...service.summary.zones, ...[...this.app.registry.members.values()].map((each) => each.zone)].filter(Boolean));
    const version = JSON.stringify([[...zones], service.summary.tags, roles]);
    if (version === this.#version) return;
    this.#version = version;
    offer(this.zone, T.picks.anyZone, [...zones].sort(), T.picks.inZone);
    offer(this.tag, T.picks.anyTag, service.summary.tags, T.picks.withTag);
    offer(this.role, T.picks.anyRole, roles, T.picks.withRole);
  }

  async #draw() {
    if (!this.element.open) return;
    const asked = ++this.#asked;
    const wanted = { strategy: this.strategy.value, zone: this.zone.value, tag: this.tag.value, role: this.role.value };
    try {
      const told = await this.app.api.get(picksPath(this.service, wanted));
      if (asked === this.#asked) this.#show(told);
    } catch (error) {
      if (asked === this.#asked) say(this.lead, error.message);
    }
  }

  #show(told) {
    const rows = pickRows(told);
    say(this.lead, told.picks ? T.picks.drawn(told.picks, told.chosen.length) : T.picks.none);
    fill(this.rows, rows.length ? table(this.service, rows, told.picks) : null,
      told.chosen.length > rows.length ? el("p", { class: "quiet" }, T.more(told.chosen.length - rows.length)) : null);
    const reasons = told.left_out.map(({ reason, instances }) => `${many(instances, "instance")} ${T.picks.reasons[reason] ?? reason}`);
    say(this.left, reasons.length ? T.picks.leftOut(reasons.join("; ")) : "");
  }
}

function table(service, rows, picks) {
  return el("table", { class: "draws" },
    el("thead", {}, el("tr", {}, [T.columns.id, T.columns.zone, T.columns.weight, T.picks.calls].map((word, place) =>
      el("th", { scope: "col", class: ["", "zone", "number", "number"][place] }, word)), el("td", {}))),
    el("tbody", {}, rows.map((each) => {
      const [got, expected] = [el("span", { class: "got" }), el("span", { class: "expected", title: T.picks.expected(Math.round(1000 * each.share) / 10) })];
      got.style.width = `${100 * each.part}%`;
      expected.style.left = `${100 * each.expected}%`;
      return el("tr", {}, el("th", { scope: "row" }, el("a", { href: hash("service", service, { instance: `${each.owner}/${each.id}` }) }, given(each.id))),
        el("td", { class: "zone" }, given(each.zone)), el("td", { class: "number" }, number(each.weight)),
        el("td", { class: "number" }, `${each.picks} / ${picks}`), el("td", { class: "drawn" }, el("div", {}, got, expected)));
    })));
}

/** Fill a `select` with "any" and what there is, and keep what was chosen if it is still there. */
function offer(select, any, values, word) {
  const before = select.value;
  fill(select, el("option", { value: "" }, any), values.map((value) => el("option", { value }, word(value))));
  select.value = values.includes(before) ? before : "";
  select.hidden = !values.length;
}
