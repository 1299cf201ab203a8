// What opens the cluster: the keys of its gossip and the tokens of its API; and what lies beyond the agent's own ring of
// members: the other cells of its region, and the regions that it follows.

import { badge, el, fill, given, say } from "./dom.js";
import { T, many, number } from "./text.js";
import { age, clock, trip } from "./time.js";

const ASKED_MS = 3000;

export class Access {
  title = T.access.title;
  #askedAt = 0;

  constructor(app) {
    this.app = app;
    this.heading = el("h1", { tabindex: -1 }, T.access.title);
    this.parts = Object.fromEntries(["keys", "tokens", "cells", "regions"].map((name) => [name, { lead: el("p", { class: "quiet" }), table: el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": T.access[name] }) }]));
    this.identity = el("ul", { class: "found" });
    this.identityPart = el("section", {}, el("h2", {}, T.access.identity), this.identity);
    this.element = el("section", {}, this.heading, Object.entries(this.parts).map(([name, part]) =>
      el("section", {}, el("h2", {}, T.access[name]), part.lead, part.table)), this.identityPart);
    for (const { table } of Object.values(this.parts)) table.hidden = true;
  }

  render() {
    const told = (this.app.node?.problems ?? []).filter((each) => /certificate|\bsign/.test(each));
    this.identityPart.hidden = !told.length;
    fill(this.identity, told.map((each) => el("li", { class: "warn" }, el("span", { class: "sign", "aria-hidden": "true" }, "▲"), given(each))));
    this.#ask();
  }

  async #ask() {
    if (!this.app.node) return this.#waiting(); // what the token is for is not known yet
    if (Date.now() - this.#askedAt < ASKED_MS || document.hidden || this.app.api.isDown) return;
    this.#askedAt = Date.now();
    const now = this.app.now();
    await Promise.all([
      this.#part("keys", "operator", ({ keys }) => [keys.length ? T.access.sealed : T.access.clear, keys.length ? keyTable(keys, now) : null]),
      this.#part("tokens", "operator", ({ tokens }) => [tokens.length ? "" : T.access.noTokens, tokens.length ? tokenTable(tokens, now) : null]),
      this.#part("cells", "read", ({ cells }) => [cells.length ? "" : T.access.noCells, cells.length ? cellTable(cells) : null]),
      this.#part("regions", "read", ({ regions }) => [regions.length > 1 ? "" : T.access.oneRegion(regions[0]?.name ?? ""), regions.length > 1 ? regionTable(regions) : null]),
    ]);
  }

  #waiting() {
    for (const { lead } of Object.values(this.parts)) say(lead, T.loading);
  }

  /** Ask for one part, if the token is for it; `show(answer)` gives its sentence and its table. */
  async #part(name, scope, show) {
    const { lead, table } = this.parts[name];
    if (!this.app.scopes.has(scope)) {
      table.hidden = true;
      return void say(lead, T.access.notFor(scope));
    }
    try {
      const [sentence, made] = show(await this.app.api.get(name));
      say(lead, sentence);
      lead.hidden = !sentence;
      table.hidden = !made;
      if (made) fill(table, made);
    } catch (error) {
      if (this.app.api.isDown) return; // what was told last stays
      lead.hidden = false;
      say(lead, error.message);
    }
  }
}

function tableOf(heads, rows) {
  // The roles are stated: where the table is narrow, its rows are blocks.
  return el("table", { class: "plain", role: "table" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, heads.map((word) => el("th", { scope: "col", role: "columnheader" }, word)))),
    el("tbody", { role: "rowgroup" }, rows.map(([first, ...cells]) => el("tr", { role: "row" }, el("th", { scope: "row", role: "rowheader" }, first), cells.map((each, place) => el("td", { role: "cell", "data-column": heads[place + 1] }, el("span", {}, each)))))));
}

function keyTable(keys, now) {
  const { columns } = T.access;
  return tableOf([columns.key, columns.state, columns.heldBy, columns.usedBy, columns.until], keys.map((each) => [
    el("code", {}, given(each.id)),
    each.primary ? badge({ sign: "●", word: T.access.primary }, "passing") : T.access.held,
    each.not_held_by.length ? [many(each.held_by, "member"), " ", badge({ sign: "▲", word: T.access.notHeldBy(each.not_held_by.slice(0, 5).join(", "), each.not_held_by.length - 5) }, "warning")] : many(each.held_by, "member"),
    many(each.used_by, "member"), each.until ? T.access.givenUp(clock(each.until, now)) : "–",
  ]));
}

function tokenTable(tokens, now) {
  const { columns } = T.access;
  return tableOf([columns.name, columns.state, columns.scopes, columns.from, columns.expires], tokens.map((each) => [
    given(each.name),
    each.accepted ? badge({ sign: "●", word: T.access.accepted }, "passing") : badge({ sign: "✖", word: T.access.notAccepted }, "critical"),
    given(each.scopes.join(", ")), each.writer ? given(T.access.cluster(each.writer)) : T.access.file,
    each.expires ? `${clock(each.expires, now)}${each.expires > now ? `, ${T.access.left(age(each.expires - now))}` : ""}` : T.access.never,
  ]));
}

function cellTable(cells) {
  const { columns } = T.access;
  return tableOf([columns.cell, columns.state, columns.age, columns.members, columns.instances, columns.relays], cells.map((each) => [
    given(each.name), cellState(each), each.own ? "–" : confirmed(each.age),
    each.failed ? [number(each.members), " ", badge({ sign: "✖", word: T.access.failed(each.failed) }, "critical")] : number(each.members),
    number(each.instances), each.relays.length ? given(each.relays.join(", ")) : "–",
  ]));
}

function cellState({ own, stale, problem }) {
  if (own) return T.access.own;
  return stale ? badge({ sign: "✖", word: problem || T.access.stale }, "critical") : badge({ sign: "●", word: T.access.connected }, "passing");
}

function confirmed(seconds) {
  if (seconds === null) return T.access.noAge;
  return age(seconds) === "now" ? T.access.fresh : age(seconds);
}

function regionTable(regions) {
  const { columns } = T.access;
  return tableOf([columns.region, columns.state, columns.age, columns.trip, columns.services, columns.agent], regions.map((each) => [
    given(each.name), regionState(each), each.own ? "–" : confirmed(each.age),
    each.own ? "–" : trip(each.round_trip), T.access.followed(number(each.services), number(each.followed)), each.agent ? given(each.agent) : "–",
  ]));
}

function regionState({ own, connected, stale, problem }) {
  if (own) return T.access.own;
  if (problem || !connected) return badge({ sign: "✖", word: problem || T.access.notConnected }, "critical");
  return stale ? badge({ sign: "▲", word: T.access.stale }, "warning") : badge({ sign: "●", word: T.access.connected }, "passing");
}
