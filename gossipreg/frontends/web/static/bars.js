// The bar of search and filters above a list: what it asks for stands in the URL.

import { attribute, el, say } from "./dom.js";
import { T } from "./text.js";

export class FilterBar {
  /** `filters`: `[value, word]` of each button; `change(query)` is called with what of the query has changed. */
  constructor({ label, filters = [], change }) {
    this.search = el("input", {
      type: "search", "aria-label": label, placeholder: label, autocomplete: "off", spellcheck: "false",
      on: { input: () => change({ q: this.search.value }) },
    });
    this.buttons = filters.map(([value, word]) =>
      el("button", { type: "button", "data-value": value, on: { click: () => change({ state: value }) } }, word));
    this.count = el("span", { class: "count", role: "status" });
    this.element = el("div", { class: "bar", role: "search" }, this.search,
      this.buttons.length ? el("div", { class: "choice", role: "group", "aria-label": "Filter" }, this.buttons) : null, this.count);
  }

  /** Show what the URL asks for, and how many rows are shown of how many. */
  show({ q = "", state = "" }, shown, all, noun, plural) {
    if (this.search.value !== q) this.search.value = q;
    for (const each of this.buttons) attribute(each, "aria-pressed", String(each.dataset.value === state));
    say(this.count, T.search.shown(shown, all, noun, plural));
  }
}
