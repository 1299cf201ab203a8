// The list of policies in force: what each does, who set it when, and whether it has an effect.

import { FilterBar } from "./bars.js";
import { removePolicy } from "./actions.js";
import { buttons } from "./confirm.js";
import { badge, el, fill, given, say } from "./dom.js";
import { VirtualList, cell } from "./list.js";
import { whyIdle } from "./problems.js";
import { hash } from "./route.js";
import { T } from "./text.js";
import { age, clock } from "./time.js";

const COLUMNS = [
  { name: "kind", label: T.columns.policy }, { name: "about", label: T.columns.about }, { name: "says", label: T.columns.says },
  { name: "writer", label: T.columns.writer, class: "writer" }, { name: "since", label: T.columns.since, class: "since" },
  { name: "act", label: T.columns.action, class: "act" },
];

export class Policies {
  title = T.policies;

  constructor(app) {
    this.app = app;
    this.heading = el("h1", { tabindex: -1 }, T.policies);
    this.bar = new FilterBar({ label: T.search.policies, change: (query) => app.refine(query) });
    this.list = new VirtualList({ name: "policies", label: T.policies, columns: COLUMNS, key: (policy) => policy.key, make: (element) => this.#row(element) });
    this.none = el("p", { class: "none" });
    this.element = el("section", {}, this.heading, el("p", { class: "lead" }, T.policiesLead), this.bar.element, this.list.element, this.none);
  }

  destroy() {
    this.list.destroy();
  }

  render(route) {
    const every = [...this.app.policies, ...this.app.unreadable];
    const words = (route.query.q ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const found = every.filter((each) => words.every((word) => `${each.key} ${each.writer}`.toLowerCase().includes(word)));
    this.bar.show(route.query, found.length, every.length, "policy", "policies");
    this.list.set(found);
    say(this.none, found.length ? "" : every.length ? T.search.none : T.noPolicies);
  }

  #row(element) {
    const names = ["kind", "about", "says", "writer", "since", "act"];
    const cells = Object.fromEntries(names.map((name) => [name, cell(name)]));
    element.append(...Object.values(cells));
    let version = "";
    return (policy) => {
      const { app } = this;
      const idle = policy.kind ? whyIdle(policy, app.registry.services.get(policy.service)) : T.unreadable;
      const stamp = JSON.stringify([policy, idle, [...app.scopes], Math.floor(app.now() / 10)]);
      if (stamp === version) return;
      version = stamp;
      element.className = `row ${idle ? "warning" : ""}`;
      say(cells.kind, policy.kind ?? "?");
      fill(cells.about, policy.service ? el("a", { class: "name", href: hash("service", policy.service) }, given(subject(policy))) : given(policy.key));
      fill(cells.says, given(effect(policy)), idle ? [" ", badge({ sign: "▲", word: idle }, "warning")] : null);
      fill(cells.writer, given(policy.writer));
      say(cells.since, age(app.now() - policy.at));
      cells.since.title = clock(policy.at);
      fill(cells.act, buttons([removePolicy(policy)], app));
      for (const button of cells.act.children) button.className = "small";
    };
  }
}

function subject({ service, instance, owner }) {
  return instance ? `${service}: ${instance}${owner ? ` of ${owner}` : ""}` : service;
}

/** What a policy does, in few words. */
export function effect(policy) {
  if (policy.kind === "weight") return `weighs ${policy.weight}`;
  if (policy.kind === "maintenance") return `out${policy.reason ? `: ${policy.reason}` : ""}`;
  if (policy.kind === "query") return `${policy.name ?? ""}${policy.template ? "*" : ""}`;
  if (policy.kind !== "split") return "";
  const total = Object.values(policy.shares).reduce((sum, share) => sum + share, 0);
  return Object.entries(policy.shares).map(([label, share]) => `${label} ${Math.round((1000 * share) / total) / 10} %`).join(", ");
}
