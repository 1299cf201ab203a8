// The split editor: how a service's load is shared between tags or zones, as a bar whose borders can be dragged.

import { setSplit } from "./actions.js";
import { attribute, el, fill, given } from "./dom.js";
import { T } from "./text.js";

/** The labels that a service's load can be split by: those of the split in force, then its tags or zones. */
export function labelsOf(service, by, before) {
  const found = by === "zone" ? service.summary.zones : service.summary.tags;
  const kept = before?.by === by ? Object.keys(before.shares) : [];
  return [...new Set([...kept, ...found])];
}

/** `shares` in percent, which add up to 100, with the border after `place` moved by `step`. Shares stay at 0 or above. */
export function moved(shares, place, step) {
  const most = shares[place] + shares[place + 1];
  const left = Math.min(most, Math.max(0, shares[place] + step));
  return shares.map((share, each) => (each === place ? left : each === place + 1 ? most - left : share));
}

/** Weights as whole percents that add up to 100. */
export function percents(weights) {
  const total = weights.reduce((sum, each) => sum + each, 0) || 1;
  const made = weights.map((each) => Math.floor((100 * each) / total));
  for (let rest = 100 - made.reduce((sum, each) => sum + each, 0), place = 0; rest > 0; rest--, place = (place + 1) % made.length) made[place] += 1;
  return made;
}

export class SplitEditor {
  #labels = [];
  #shares = [];
  #version = "";

  constructor(app, name) {
    this.app = app;
    this.name = name;
    this.bar = el("div", { class: "split" });
    this.by = el("select", { "aria-label": T.split.by, on: { change: () => this.#begin() } }, el("option", { value: "tag" }, T.split.tag), el("option", { value: "zone" }, T.split.zone));
    this.choose = el("div", { class: "labels" });
    this.go = el("button", { type: "button", on: { click: () => this.#ask() } }, T.split.set);
    this.element = el("details", { class: "split-editor", on: { toggle: () => this.#begin() } },
      el("summary", {}, T.split.title), el("div", { class: "bar" }, this.by, this.choose), this.bar, el("p", { class: "quiet" }, T.split.hint), this.go);
  }

  get #service() {
    return this.app.registry.services.get(this.name);
  }

  get #before() {
    return this.app.policies.find((each) => each.kind === "split" && each.service === this.name);
  }

  /** Offered only to a token that may set policies, and where there is something to split by. */
  render() {
    const service = this.#service;
    const able = service && this.app.scopes.has("policy") && (service.summary.tags.length > 1 || service.summary.zones.length > 1 || this.#before);
    this.element.hidden = !able;
    const version = JSON.stringify(this.#before ?? null);
    if (version === this.#version) return;
    this.#version = version;
    if (this.#before) this.by.value = this.#before.by;
    if (this.element.open) this.#begin();
  }

  #begin() {
    if (!this.element.open || !this.#service) return;
    const before = this.#before?.by === this.by.value ? this.#before.shares : null;
    const offered = labelsOf(this.#service, this.by.value, this.#before).slice(0, 12);
    this.#labels = before ? Object.keys(before) : offered.slice(0, 2);
    this.#shares = percents(this.#labels.map((label) => before?.[label] ?? 1));
    fill(this.choose, offered.map((label) => el("label", {}, el("input", { type: "checkbox", checked: this.#labels.includes(label), on: { change: (event) => this.#take(label, event.target.checked) } }), given(label))));
    this.#draw();
  }

  #take(label, isTaken) {
    this.#labels = isTaken ? [...this.#labels, label] : this.#labels.filter((each) => each !== label);
    this.#shares = percents(this.#labels.map(() => 1));
    this.#draw();
  }

  #draw() {
    const parts = this.#labels.flatMap((label, place) => {
      const part = el("div", { class: `part p${place % 6}` }, given(`${label} ${this.#shares[place]} %`));
      part.style.flexGrow = String(this.#shares[place]);
      return place < this.#labels.length - 1 ? [part, this.#border(place)] : [part];
    });
    fill(this.bar, parts);
    this.go.disabled = !this.#labels.length;
  }

  /** A border between two shares: dragged, or moved by the arrow keys. */
  #border(place) {
    const handle = el("div", { class: "border", role: "slider", tabindex: 0, "aria-label": T.split.border(this.#labels[place], this.#labels[place + 1]), "aria-valuemin": 0 });
    attribute(handle, "aria-valuemax", this.#shares[place] + this.#shares[place + 1]);
    attribute(handle, "aria-valuenow", this.#shares[place]);
    attribute(handle, "aria-valuetext", `${this.#labels[place]} ${this.#shares[place]} %`);
    const move = (step) => {
      this.#shares = moved(this.#shares, place, step);
      this.#draw();
      this.bar.querySelectorAll(".border")[place].focus();
    };
    handle.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      move(step);
    });
    handle.addEventListener("pointerdown", (event) => this.#drag(event, place));
    return handle;
  }

  #drag(event, place) {
    event.preventDefault();
    const [from, shares, width] = [event.clientX, this.#shares, this.bar.clientWidth];
    const follow = (now) => {
      this.#shares = moved(shares, place, Math.round((100 * (now.clientX - from)) / width));
      this.#draw();
    };
    const end = () => {
      removeEventListener("pointermove", follow);
      removeEventListener("pointerup", end);
    };
    addEventListener("pointermove", follow);
    addEventListener("pointerup", end);
  }

  #ask() {
    const shares = Object.fromEntries(this.#labels.map((label, place) => [label, this.#shares[place]]));
    this.app.confirm.open(setSplit(this.name, this.by.value, shares, this.#before));
  }
}
