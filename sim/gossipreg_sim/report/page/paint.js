// Colours, and canvases that are sharp on any screen.

const CELLS = [
  { name: "unknown", glyph: "", text: "unknown to the observer" },
  { name: "alive", glyph: "", text: "alive" },
  { name: "suspect", glyph: "?", text: "suspect" },
  { name: "failed", glyph: "×", text: "failed" },
  { name: "left", glyph: "–", text: "left" },
  { name: "stale", glyph: "!", text: "stale: alive, but that run has ended" },
  { name: "down", glyph: "", text: "the observer is down" },
];
const CONTENTS = [
  { name: "ping", text: "ping" },
  { name: "ack", text: "ack" },
  { name: "ping-req", text: "ping-req" },
  { name: "nack", text: "nack" },
  { name: "gossip", text: "gossip alone" },
  { name: "stream", text: "stream" },
];
const COLOURS = ["ink", "quiet", "line", "card", "accent", "lost", "band", "bad"];

// The colours of the style sheet, in the current light or dark scheme.
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ...Object.fromEntries(COLOURS.map((name) => [name, colour(name)])),
    cells: CELLS.map(({ name }) => colour(name)),
    contents: CONTENTS.map(({ name }) => colour(name)),
  };
}

// Resize a canvas to the available width and `height` (CSS pixels), clear it, and return its context.
function fresh(canvas, height) {
  const width = canvas.clientWidth;
  const dots = window.devicePixelRatio || 1;
  const context = canvas.getContext("2d");
  if (canvas.width !== Math.round(width * dots) || canvas.height !== Math.round(height * dots)) {
    canvas.width = Math.round(width * dots);
    canvas.height = Math.round(height * dots);
    canvas.style.height = `${height}px`;
  }
  context.setTransform(dots, 0, 0, dots, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif";
  return { context, width, height };
}

// The red, green and blue components of a style sheet colour.
function channels(colour) {
  const number = parseInt(colour.slice(1), 16);
  return [(number >> 16) & 255, (number >> 8) & 255, number & 255];
}

// About `count` round numbers between `low` and `high`, for the ticks of an axis.
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let tick = Math.ceil(low / step); tick * step <= high * (1 + 1e-9); tick++) found.push(+(tick * step).toPrecision(12));
  return found;
}

function shortNumber(value) {
  if (value >= 1e6) return `${+(value / 1e6).toPrecision(3)} M`;
  if (value >= 1e4) return `${+(value / 1e3).toPrecision(3)} k`;
  return `${+value.toPrecision(4)}`;
}

function element(tag, parts = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), parts);
  made.append(...inside);
  return made;
}

function legend(id, entries, strokes) {
  const place = document.getElementById(id);
  for (const { name, glyph, text } of entries) {
    const swatch = element("i", { textContent: strokes ? "" : glyph, className: strokes ? "stroke" : "" });
    swatch.style.background = `var(--${name})`;
    if (name === "failed" || name === "stale" || name === "left") swatch.style.color = "var(--card)";
    if (name === "suspect") swatch.style.color = "#1c2127";
    place.append(element("span", {}, swatch, text));
  }
}
