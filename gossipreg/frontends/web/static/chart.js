// A small chart: one line over the last quarter of an hour, with its latest and its highest value as text.

import { el, say } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [180, 36];

/** The points of a line through `[at, value]`, from `from` to `to`, in a box of WIDTH by HEIGHT. Gaps are left out. */
export function points(samples, from, to) {
  const most = Math.max(...samples.map(([, value]) => value ?? 0), 0) || 1;
  return samples.filter(([at, value]) => value !== null && at >= from).map(([at, value]) => {
    const x = ((at - from) / (to - from)) * WIDTH;
    const y = HEIGHT - 2 - (value / most) * (HEIGHT - 4);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  }).join(" ");
}

export class Chart {
  /** `text(value)` says a value with its unit. */
  constructor(label, text) {
    this.label = label;
    this.text = text;
    this.line = document.createElementNS(SVG, "polyline");
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.svg.setAttribute("role", "img");
    this.svg.append(this.line);
    this.now = el("b");
    this.most = el("span", { class: "quiet" });
    this.element = el("figure", { class: "chart" }, el("figcaption", {}, label), this.svg, el("div", {}, this.now, " ", this.most));
  }

  /** Show samples `[at, value]`, oldest first, of the time up to `to`. */
  show(samples, to) {
    const values = samples.map(([, value]) => value).filter((value) => value !== null);
    this.element.hidden = !values.length;
    if (!values.length) return;
    const [latest, most] = [this.text(values.at(-1)), this.text(Math.max(...values))];
    this.line.setAttribute("points", points(samples, to - 900, to));
    this.svg.setAttribute("aria-label", `${this.label}: ${latest} now, at most ${most} in 15 minutes`);
    say(this.now, latest);
    say(this.most, `at most ${most}`);
  }
}
