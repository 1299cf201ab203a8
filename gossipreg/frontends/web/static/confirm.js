// The dialog that every action goes through: what it does, its command line and its request; then done, with an undo.

import { copyButton } from "./copy.js";
import { el, fill, given, lines, say } from "./dom.js";
import { T } from "./text.js";

const UNDO_MS = 60_000; // how long the undo is offered

export class ConfirmDialog {
  #action = null;
  #inputs = {};
  #timer = 0;

  /** `done()` is called when something was changed. */
  constructor(api, done) {
    this.api = api;
    this.done = done;
    this.title = el("h2", { id: "confirm-title" });
    this.effect = el("p");
    this.fields = el("div");
    this.command = el("pre", { tabindex: 0, "aria-label": T.confirm.command });
    this.request = el("pre", { tabindex: 0, "aria-label": T.confirm.request });
    this.copy = el("span");
    this.error = el("p", { class: "error", role: "alert" });
    this.go = el("button", { type: "submit", class: "main" });
    const cancel = el("button", { type: "button", on: { click: () => this.element.close() } }, T.confirm.cancel);
    this.requestPart = el("div", {}, el("h3", {}, T.confirm.request), this.request);
    this.element = el("dialog", { "aria-labelledby": "confirm-title" },
      el("form", { method: "dialog", on: { submit: (event) => { event.preventDefault(); this.#do(); } } },
        this.title, this.effect, this.fields, el("h3", {}, T.confirm.command, this.copy), this.command, this.requestPart,
        this.error, el("div", { class: "buttons" }, cancel, this.go)));
    this.notice = el("div", { class: "notice", role: "status", hidden: true });
    document.body.append(this.element, this.notice);
  }

  /** Ask whether to do it. */
  open(action) {
    this.#action = action;
    fill(this.title, given(action.title));
    fill(this.effect, given(action.elsewhere ?? action.effect));
    this.#inputs = Object.fromEntries(action.fields.map((field) => [field.name, el("input", {
      id: `field-${field.name}`, type: field.type, min: field.min, [field.type === "text" ? "maxlength" : "max"]: field.max,
      required: field.type === "number", autocomplete: "off", on: { input: () => this.#show() },
    })]));
    for (const field of action.fields) this.#inputs[field.name].value = field.value;
    fill(this.fields, action.fields.map((field) => [el("label", { for: `field-${field.name}` }, field.label), this.#inputs[field.name]]));
    this.requestPart.hidden = this.go.hidden = Boolean(action.elsewhere);
    this.go.className = action.danger ? "danger" : "main";
    this.go.disabled = false;
    say(this.go, action.label);
    say(this.error, "");
    this.#show();
    this.element.showModal();
  }

  get #values() {
    return Object.fromEntries(Object.entries(this.#inputs).map(([name, input]) => [name, input.value.trim()]));
  }

  #show() {
    const command = this.#action.command(this.#values);
    say(this.command, command);
    fill(this.copy, copyButton(command));
    if (!this.#action.elsewhere) fill(this.request, lines(written(this.#action.request(this.#values))));
  }

  async #do() {
    this.go.disabled = true;
    const action = this.#action;
    try {
      await this.#send(action.request(this.#values));
      this.element.close();
      this.#tell(action);
    } catch (error) {
      say(this.error, error.message);
      this.go.disabled = false;
    }
  }

  async #send({ method, path, body }) {
    await this.api.ask(method, path, { body });
    this.done();
  }

  #tell(action) {
    clearTimeout(this.#timer);
    const undo = async () => {
      try {
        await this.#send(action.undo);
        this.notice.hidden = true;
      } catch (error) {
        fill(this.notice, given(error.message));
      }
    };
    fill(this.notice, given(T.confirm.done(action.title)),
      action.undo ? el("button", { type: "button", class: "small", on: { click: undo } }, T.confirm.undo) : null,
      el("button", { type: "button", class: "small", on: { click: () => { this.notice.hidden = true; } } }, T.close));
    this.notice.hidden = false;
    this.#timer = setTimeout(() => { this.notice.hidden = true; }, UNDO_MS);
  }
}

/** A request as it goes to the agent. */
export function written({ method, path, body }) {
  return `${method} /api/v1/${path}${body === undefined ? "" : `\n${JSON.stringify(body)}`}`;
}

/** Buttons of those actions that the viewer's token is for. */
export function buttons(actions, app) {
  return actions.filter((each) => app.scopes.has(each.scope)).map((each) =>
    el("button", { type: "button", class: each.danger ? "danger" : "", on: { click: () => app.confirm.open(each) } }, each.label));
}
