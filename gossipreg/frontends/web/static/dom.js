// Elements: made and changed with text only. Nothing here, nor anywhere in the page, takes markup from a string.

import { visible } from "./text.js";

/** An element. `props`: `class`, `on` (listeners), and attributes; `false` and null leave one out. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (name === "class") made.className = value;
    else attribute(made, name, value);
  }
  fill(made, ...children);
  return made;
}

/** Put `children`, which are elements and texts, into `parent` in place of what it holds. */
export function fill(parent, ...children) {
  const there = children.flat(Infinity).filter((each) => each !== null && each !== undefined && each !== false);
  parent.replaceChildren(...there.map((each) => (each instanceof Node ? each : visible(each))));
  return parent;
}

/** Give `element` this text, if it has another. */
export function say(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
  return element;
}

/** Give `element` an attribute, or take it away for `false` and null. */
export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : String(value));
}

/** A text that an instance or a member gave itself, kept apart from the direction of what surrounds it. */
export function given(text, props = {}, ...more) {
  return el("bdi", props, text, ...more);
}

/** Characters of the end of a long name that stay in view where the name does not fit: names often differ at their ends. */
const TAIL = 10;
const LONG = 24;

/** A name as `given`; where there is too little room for a long one, its middle is left out, and not its end. */
export function named(text) {
  const characters = [...text];
  if (characters.length <= LONG) return given(text);
  const [head, tail] = [characters.slice(0, -TAIL).join(""), characters.slice(-TAIL).join("")];
  return given("", { class: "long", title: visible(text) }, el("span", {}, head), el("span", {}, tail));
}

/** A text of several lines, each in an element of its own. */
export function lines(text) {
  return text.split("\n").map((line) => el("div", {}, line || " "));
}

/** A sign and its word: colour is never the only difference. */
export function badge(kind, tone = kind.word) {
  return el("span", { class: `badge ${tone}` }, el("span", { class: "sign", "aria-hidden": "true" }, kind.sign), kind.word);
}

/** Make the children of `parent` those of `items`, in their order. One whose `version` is unchanged stays as it is. */
export function keyed(parent, items, key, version, make) {
  const before = new Map([...parent.children].map((each) => [each.dataset.key, each]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const stamp = version(item);
    let element = before.get(name);
    before.delete(name);
    if (!element || element.dataset.version !== stamp) {
      const made = make(item);
      made.dataset.key = name;
      made.dataset.version = stamp;
      if (element) {
        if (element === next) next = made;
        element.replaceWith(made);
      }
      element = made;
    }
    if (element === next) next = element.nextElementSibling;
    else parent.insertBefore(element, next);
  }
  for (const gone of before.values()) gone.remove();
}
