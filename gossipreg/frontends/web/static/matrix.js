// The matrix of which member sees which, and the round trips between zones, on the page of the members.

import { el, fill, given, say } from "./dom.js";
import { heatMap, lostLinks, matrix } from "./observed.js";
import { T, many } from "./text.js";
import { trip } from "./time.js";

const SIGNS = { alive: "●", suspect: "▲", failed: "✖", unknown: "?", self: "", none: "" };
const LINK_SIGNS = { direct: "", outgoing_lost: "⇥", incoming_lost: "⇤", streams_only: "S", packets_only: "P", small_packets: "s" };

export class Matrix {
  #version = "";

  constructor(app) {
    this.app = app;
    this.lead = el("p", { class: "quiet" });
    this.found = el("ul", { class: "found" });
    this.table = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": T.matrix.title });
    this.legend = el("p", { class: "legend quiet" }, T.matrix.legend.map(([sign, word]) => el("span", {}, el("span", { class: "sign", "aria-hidden": "true" }, sign), word)));
    this.heat = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": T.heat.title });
    this.heatLead = el("p", { class: "quiet" }, T.heat.hint);
    this.heatPart = el("section", { hidden: true }, el("h2", {}, T.heat.title), this.heatLead, this.heat);
    this.element = el("div", {}, el("section", { class: "matrix" }, el("h2", {}, T.matrix.title), this.lead, this.found, this.table, this.legend), this.heatPart);
    this.table.hidden = this.legend.hidden = true;
  }

  render() {
    const { observations } = this.app;
    observations.ask();
    const told = observations.told;
    if (!told) return void say(this.lead, observations.error || T.matrix.asking);
    const version = JSON.stringify([told.at, [...this.app.registry.members.values()].map((each) => [each.name, each.status])]);
    if (version === this.#version) return;
    this.#version = version;
    const shown = matrix(told, this.app.registry.members);
    say(this.lead, `${T.matrix.answered(told.answered, told.asked)} ${shown.isWhole ? "" : T.matrix.partly(shown.rows.length)}`);
    const links = lostLinks(told);
    fill(this.found, links.map((each) => el("li", { class: "bad" }, el("span", { class: "sign", "aria-hidden": "true" }, "✖"), given(T.matrix.lost(each)))));
    const isShown = shown.rows.length > 0 && shown.columns.length > 1;
    this.table.hidden = this.legend.hidden = !isShown;
    if (isShown) fill(this.table, grid(shown));
    const heat = heatMap(told);
    this.heatPart.hidden = heat.zones.length === 0;
    if (heat.zones.length) fill(this.heat, zoneGrid(heat));
  }
}

function grid({ columns, rows, hidden }) {
  return [el("table", { class: "grid" },
    el("thead", {}, el("tr", {}, el("td", {}, el("span", { class: "corner" }, T.matrix.corner)),
      columns.map((name) => el("th", { scope: "col" }, el("span", { class: "upright" }, given(name)))))),
    el("tbody", {}, rows.map((row) => el("tr", { class: row.failure ? "silent" : row.differs ? "differs" : "" },
      el("th", { scope: "row" }, given(row.name)),
      row.failure ? el("td", { class: "why", colspan: columns.length }, given(T.matrix.noAnswer(row.failure))) : row.cells.map((each) => cell(row.name, each)))))),
  hidden ? el("p", { class: "quiet" }, T.more(hidden)) : null];
}

function cell(observer, { member, status, link, trip: seconds, differs }) {
  if (status === "self") return el("td", { class: "self", "aria-label": T.matrix.self });
  const said = T.matrix.cell(observer, member, status, link, seconds === null ? "" : trip(seconds));
  const sign = link === "direct" ? SIGNS[status] : LINK_SIGNS[link];
  return el("td", { class: `${link === "direct" ? status : "lost"}${differs ? " differs" : ""}`, title: said },
    el("span", { role: "img", "aria-label": said }, sign));
}

function zoneGrid({ zones, cells }) {
  const name = (zone) => (zone ? given(zone) : T.heat.none);
  return el("table", { class: "grid heat" },
    el("thead", {}, el("tr", {}, el("td", {}, el("span", { class: "corner" }, T.heat.corner)), zones.map((zone) => el("th", { scope: "col" }, name(zone))))),
    el("tbody", {}, cells.map((row, place) => el("tr", {}, el("th", { scope: "row" }, name(zones[place])), row.map((each) =>
      (each ? el("td", { class: `h${each.heat}`, title: T.heat.cell(many(each.links, "pair"), trip(each.worst)) }, trip(each.median)) : el("td", {}, "–")))))));
}
