// The copy button: puts a text on the clipboard, where the browser lets a page do so.

import { el, fill } from "./dom.js";
import { T } from "./text.js";

/** A button that copies a text, where the browser lets a page do so. */
export function copyButton(text) {
  if (!navigator.clipboard) return null;
  const button = el("button", { type: "button", class: "small", "aria-label": `${T.copy} ${text}`, on: {
    click: async () => {
      await navigator.clipboard.writeText(text);
      fill(button, T.copied);
      setTimeout(() => fill(button, T.copy), 1500);
    },
  } }, T.copy);
  return button;
}
