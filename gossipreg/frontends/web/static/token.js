// The dialog that asks for a token. It is kept in memory, and shown to no one but the agent.

import { el, fill } from "./dom.js";
import { T } from "./text.js";

export class TokenDialog {
  /** `use(token)` is called with what the viewer gives; empty to forget it. */
  constructor(use) {
    this.input = el("input", { type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true });
    this.why = el("p", { class: "why" });
    const form = el("form", { method: "dialog", on: {
      submit: (event) => {
        event.preventDefault(); // nothing is sent by a form
        const token = this.input.value.trim();
        this.input.value = "";
        this.element.close();
        use(token);
      },
    } },
    el("h2", { id: "token-title" }, T.token.title), this.why,
    el("label", { for: "token" }, T.token.label), this.input, el("p", { class: "quiet" }, T.token.hint),
    el("div", { class: "buttons" },
      el("button", { type: "button", on: { click: () => { this.element.close(); use(""); } } }, T.token.forget),
      el("button", { type: "submit", class: "main" }, T.token.use)));
    this.element = el("dialog", { "aria-labelledby": "token-title" }, form);
    document.body.append(this.element);
  }

  /** Ask, and say why. */
  open(why = "") {
    fill(this.why, why);
    if (!this.element.open) this.element.showModal();
    this.input.focus();
  }
}
