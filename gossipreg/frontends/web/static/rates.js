// The charts of the overview: what this agent does, and how long its peers take to answer.

import { Chart } from "./chart.js";
import { el } from "./dom.js";
import { T } from "./text.js";
import { trip } from "./time.js";

const ASKED_MS = 5000;

const perSecond = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}/s`;

/** Bytes a second: `812 B/s`, `1.5 KiB/s`. */
export function bytes(value) {
  return value < 1024 ? `${Math.round(value)} B/s` : value < 1048576 ? `${(value / 1024).toFixed(1)} KiB/s` : `${(value / 1048576).toFixed(1)} MiB/s`;
}

export class Rates {
  #askedAt = 0;

  constructor(app) {
    this.app = app;
    this.charts = [
      [new Chart(T.rates.packets, perSecond), (each) => each.packets_in + each.packets_out],
      [new Chart(T.rates.bytes, bytes), (each) => each.bytes_in + each.bytes_out],
      [new Chart(T.rates.requests, perSecond), (each) => each.requests],
      [new Chart(T.rates.trip, trip), (each) => each.round_trip],
    ];
    this.element = el("section", { class: "charts", "aria-label": T.rates.title }, this.charts.map(([chart]) => chart.element));
    for (const [chart] of this.charts) chart.element.hidden = true;
  }

  async render() {
    if (Date.now() - this.#askedAt < ASKED_MS || document.hidden || this.app.api.isDown) return;
    this.#askedAt = Date.now();
    try {
      const { samples } = await this.app.api.get("rates");
      for (const [chart, value] of this.charts) chart.show(samples.map((each) => [each.at, value(each)]), this.app.now());
    } catch { /* the state of the connection says so */ }
  }
}
