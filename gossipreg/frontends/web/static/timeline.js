// The timeline of one service: what of it has changed in the last hour, as the agent has kept it.

import { el, given, keyed, say } from "./dom.js";
import { T } from "./text.js";
import { clock } from "./time.js";

const SHOWN_MAX = 100;

export class Timeline {
  constructor(app, service) {
    this.app = app;
    this.service = service;
    this.list = el("ol", { class: "timeline" });
    this.none = el("p", { class: "quiet" });
    this.element = el("section", {}, el("h2", {}, T.timeline), this.list, this.none);
    this.ids = new WeakMap();
    this.count = 0;
  }

  render() {
    const hour = this.app.now() - 3600;
    const changes = [];
    const every = this.app.registry.changes;
    for (let place = every.length - 1; place >= 0 && changes.length < SHOWN_MAX; place--) {
      if (every[place].at < hour) break;
      if (every[place].service === this.service) changes.push(every[place]);
    }
    keyed(this.list, changes, (each) => this.#id(each), () => "", (each) => el("li", {},
      el("time", {}, clock(each.at)), el("span", {}, given(sentence(each)))));
    const isKnown = this.app.registry.completeFrom !== null; // the agent has told the last hour
    say(this.none, changes.length ? "" : isKnown ? T.noChanges : T.loading);
  }

  #id(change) {
    if (!this.ids.has(change)) this.ids.set(change, String(++this.count));
    return this.ids.get(change);
  }
}

/** One change as a sentence. */
export function sentence(change) {
  const [what, kind] = change.event.split("-");
  if (what === "role") return kind === "contested" ? `several claim to be the primary: ${change.contenders.join(", ")}` : `the primary is ${change.primary ?? "none"}`;
  if (what === "check") return `the check ${change.check} of ${change.id} ${kind === "flapping" ? "flaps" : "is steady again"}`;
  if (kind === "added") return `${change.id} of ${change.owner} came, ${change.health}${why(change)}`;
  if (kind === "removed") return `${change.id} of ${change.owner} went`;
  const fields = Object.keys(change.is ?? {}).map((name) => `${name} ${change.was[name] ?? "none"} → ${change.is[name] ?? "none"}`);
  if (!fields.length) return `${change.id} of ${change.owner}: ${change.health}${why(change)}`;
  return `${change.id} of ${change.owner}: ${fields.join(", ")}${change.is.health ? why(change) : ""}`;
}

function why(change) {
  return change.reason ? ` (${change.reason})` : "";
}
