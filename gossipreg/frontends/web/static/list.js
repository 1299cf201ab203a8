// The virtual list: of ten thousand rows, only those in sight are elements. It scrolls with the window.

import { attribute, el } from "./dom.js";

const OVERSCAN = 8; // rows above and below those in sight, so that a quick scroll shows no gap

export class VirtualList {
  #rows = [];
  #shown = new Map(); // key -> {element, row}
  #height = 0;
  #frame = 0;

  /**
   * `columns`: `{name, label, class, sort}`; `key(row)`; `make(element)` fills a new row's element with cells and returns
   * the function that shows a row in them.
   */
  constructor({ name, label, columns, key, make, onSort }) {
    this.key = key;
    this.make = make;
    this.columns = columns;
    this.headers = columns.map((column) => header(column, onSort));
    this.head = el("div", { class: "row head", role: "row", "aria-rowindex": 1 }, ...this.headers);
    this.body = el("div", { class: "rows", role: "rowgroup" });
    this.element = el("div", { class: `list ${name}`, role: "table", "aria-label": label },
      el("div", { role: "rowgroup" }, this.head), this.body);
    this.schedule = () => {
      this.#frame ||= requestAnimationFrame(() => this.draw());
    };
    addEventListener("scroll", this.schedule, { passive: true });
    addEventListener("resize", this.schedule);
    this.body.addEventListener("keydown", (event) => this.#move(event));
  }

  destroy() {
    removeEventListener("scroll", this.schedule);
    removeEventListener("resize", this.schedule);
    cancelAnimationFrame(this.#frame);
  }

  /** Say by which column the rows are sorted. */
  sortedBy(name) {
    this.columns.forEach((column, place) => {
      attribute(this.headers[place], "aria-sort", column.sort === name ? "ascending" : column.sort ? "none" : null);
    });
  }

  /** Show these rows. */
  set(rows) {
    this.#rows = rows;
    attribute(this.element, "aria-rowcount", rows.length + 1);
    this.draw();
  }

  draw() {
    this.#frame = 0;
    this.#height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || 40;
    this.body.style.height = `${this.#rows.length * this.#height}px`;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.#height) - OVERSCAN);
    const last = Math.min(this.#rows.length, Math.ceil((innerHeight - top) / this.#height) + OVERSCAN);
    this.#place(first, last);
  }

  #place(first, last) {
    const free = [];
    const wanted = new Map();
    for (let place = first; place < last; place++) wanted.set(this.key(this.#rows[place]), place);
    for (const [key, shown] of this.#shown) {
      if (wanted.has(key)) continue;
      this.#shown.delete(key);
      if (shown.element.contains(document.activeElement)) shown.element.remove();
      else free.push(shown);
    }
    const focused = document.activeElement;
    let next = this.body.firstElementChild;
    for (const [key, place] of wanted) {
      let shown = this.#shown.get(key);
      if (!shown) this.#shown.set(key, (shown = free.pop() ?? this.#create()));
      shown.show(this.#rows[place]);
      shown.element.style.transform = `translateY(${place * this.#height}px)`;
      attribute(shown.element, "aria-rowindex", place + 2);
      while (next && free.some((each) => each.element === next)) next = next.nextElementSibling;
      if (shown.element === next) next = next.nextElementSibling;
      else this.body.insertBefore(shown.element, next); // in reading order
    }
    for (const each of free) each.element.remove();
    if (focused !== document.activeElement && this.body.contains(focused)) focused.focus({ preventScroll: true });
  }

  #create() {
    const element = el("div", { class: "row", role: "row" });
    return { element, show: this.make(element) };
  }

  /** Arrow keys move from row to row. */
  #move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -Infinity, End: Infinity }[event.key];
    const row = event.target.closest(".row");
    if (step === undefined || !row || event.target.matches("input, select, button")) return;
    event.preventDefault();
    const here = Number(row.getAttribute("aria-rowindex")) - 2;
    const there = Math.min(this.#rows.length - 1, Math.max(0, here + step));
    const top = this.body.getBoundingClientRect().top + there * this.#height;
    const room = innerHeight - this.#height;
    if (top < 80 || top > room) scrollBy(0, top < 80 ? top - 120 : top - room + 40);
    this.draw();
    this.#shown.get(this.key(this.#rows[there]))?.element.querySelector("a")?.focus({ preventScroll: true });
  }
}

function header(column, onSort) {
  const cell = el("div", { role: "columnheader", class: `cell ${column.class ?? ""}` });
  if (column.sort) cell.append(el("button", { type: "button", on: { click: () => onSort(column.sort) } }, column.label));
  else cell.append(column.label);
  return cell;
}

/** A cell of a row. */
export function cell(name, ...children) {
  return el("div", { class: `cell ${name}`, role: "cell" }, ...children);
}
