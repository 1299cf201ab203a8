// One instance in full: every field, its checks with what they said last, and what its weight comes from.

import { instanceActions } from "./actions.js";
import { buttons } from "./confirm.js";
import { copyButton } from "./copy.js";
import { badge, el, fill, given, lines } from "./dom.js";
import { HEALTH, T, number } from "./text.js";
import { age, clock } from "./time.js";

/** Where to call it; without a port there is nothing to call. */
export function addressOf(instance) {
  if (!instance.port) return `${instance.host} (${T.noPort})`;
  return instance.host.includes(":") ? `[${instance.host}]:${instance.port}` : `${instance.host}:${instance.port}`;
}

/** Why an instance does not weigh what its owner stated; empty if it does. */
export function whyWeight(instance, { registry, policies }) {
  const mine = policies.find((each) => each.kind === "weight" && each.service === instance.service
    && each.instance === instance.id && (!each.owner || each.owner === instance.owner));
  const split = policies.find((each) => each.kind === "split" && each.service === instance.service);
  const owner = registry.members.get(instance.owner);
  return [owner?.draining ? `${instance.owner} drains` : "", mine ? `policy ${mine.key}` : "", split ? `policy ${split.key}` : ""]
    .filter(Boolean).join("; ");
}

export class InstancePanel {
  #version = "";

  /** `close()` is called when the viewer closes it. */
  constructor(app, close) {
    this.app = app;
    this.body = el("div");
    this.heading = el("h2");
    this.actions = el("div", { class: "actions" });
    this.element = el("aside", { class: "panel", "aria-label": T.columns.id },
      el("div", { class: "panel-head" }, this.heading, el("button", { type: "button", on: { click: close } }, T.close)),
      this.body, this.actions);
  }

  /** Show this instance; `stated` is the weight that its owner stated, if that is known. */
  show(instance, stated) {
    const { app } = this;
    const checks = app.checks.filter((each) => each.instance === instance.id && each.service === instance.service);
    const mine = instance.owner === app.node?.name ? checks : [];
    const since = app.registry.since(instance);
    const version = JSON.stringify([instance, stated, since, mine.map((each) => [each.health, each.output, each.runs, each.flapping]), app.policies, [...app.scopes]]);
    if (version === this.#version) return;
    this.#version = version;
    fill(this.heading, given(instance.id));
    const why = whyWeight(instance, app);
    const fields = [
      [T.columns.health, [badge(HEALTH[instance.health]), instance.reason ? [" ", given(instance.reason)] : ""]],
      [T.columns.since, since ? `${clock(since, app.now())}, ${age(app.now() - since)}` : app.before()],
      [T.columns.address, [given(addressOf(instance)), copyButton(addressOf(instance))]],
      [T.columns.weight, stated === undefined || stated === instance.weight ? number(instance.weight)
        : `${number(instance.weight)} (${T.weightSet(stated, why)})`],
      [T.columns.role, instance.role ? given(`${instance.role}, term ${instance.term}`) : "–"],
      [T.columns.zone, instance.zone ? given(instance.zone) : "–"],
      [T.columns.owner, [given(instance.owner), mine.length || instance.owner === app.node?.name ? ` (${T.thisAgent})` : ""]],
      [T.columns.tags, instance.tags.length ? instance.tags.map((tag) => el("span", { class: "tag" }, given(tag))) : "–"],
    ];
    fill(this.body,
      el("dl", { class: "fields" }, fields.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      meta(instance.meta), this.#checks(instance, mine));
    fill(this.actions, buttons(instanceActions(instance, app), app));
  }

  #checks(instance, checks) {
    const mine = instance.owner === this.app.node?.name;
    if (!mine) return el("p", { class: "quiet" }, given(T.checksElsewhere(instance.owner)));
    if (!checks.length) return el("p", { class: "quiet" }, T.noChecks);
    return el("section", {}, el("h3", {}, T.checks), el("ul", { class: "checks" }, checks.map((each) => el("li", {},
      badge(HEALTH[each.health]), " ", given(each.name), each.target ? [" ", given(each.target, { class: "quiet" })] : "",
      el("span", { class: "quiet" }, ` ${each.runs} runs`, each.took === null ? "" : `, the last took ${Math.round(each.took * 1000)} ms`, each.flapping ? ", flapping" : ""),
      el("pre", { tabindex: 0, "aria-label": `What ${each.name} said last` }, each.output === null ? `(${T.outputHidden})` : each.output ? lines(each.output) : `(${T.noOutput})`)))));
  }
}

function meta(pairs) {
  const entries = Object.entries(pairs);
  if (!entries.length) return null;
  return el("section", {}, el("h3", {}, T.meta), el("dl", { class: "fields" }, entries.map(([name, value]) =>
    el("div", {}, el("dt", {}, given(name)), el("dd", {}, given(value))))));
}
