// The overview: what is wrong, since when, why, and what to do; one quiet line if nothing is.

import { el, fill, given, keyed, say } from "./dom.js";
import { isGrave } from "./problems.js";
import { Rates } from "./rates.js";
import { T, many } from "./text.js";
import { age, clock } from "./time.js";

const LEVEL = { bad: ["✖", "bad"], warn: ["▲", "attention"], early: ["◌", "not certain yet"], note: ["●", "note"] };

export class Overview {
  title = T.overview;

  constructor(app) {
    this.app = app;
    this.heading = el("h1", { tabindex: -1 }, T.overview);
    this.line = el("p", { class: "lead" });
    this.list = el("ul", { class: "problems" });
    this.rates = new Rates(app);
    this.extra = el("div", { class: "facts" });
    this.element = el("section", {}, this.heading, this.line, this.list, this.rates.element, this.extra);
  }

  render() {
    const { app } = this;
    const { registry, node } = app;
    if (!registry.known) return void say(this.line, T.loading);
    app.observations.ask();
    const problems = app.problems;
    const grave = problems.filter((each) => isGrave(each)).length;
    const early = problems.filter((each) => each.level === "early").length;
    const alive = [...registry.members.values()].filter((each) => each.status === "alive").length;
    const counts = [registry.services.size, registry.instanceCount, alive];
    const well = () => (app.lostAt !== null ? T.lastKnown(...counts) : early ? T.early(early) : T.allWell(...counts));
    say(this.line, grave ? (app.lostAt === null ? T.problems(grave) : T.lastProblems(grave)) : well());
    this.line.className = `lead ${grave ? "bad" : early || app.lostAt !== null ? "" : "well"}`;
    const now = app.now();
    keyed(this.list, problems, (each) => each.key, (each) => JSON.stringify(each), (each) => problem(each, now));
    for (const each of this.list.querySelectorAll("time")) say(each, ageOf(Number(each.dataset.at), now, "seen" in each.dataset));
    this.rates.render();
    if (node) this.#facts(node, alive);
  }

  #facts(node, alive) {
    const { registry } = this.app;
    const facts = [
      ["Agent", `${node.name} at ${node.address}, version ${node.version || "unknown"}`],
      ["Cluster", `${node.cluster}: ${many(alive, "member")} alive, ${Math.floor(node.reachable * 100)} % of the others reachable`],
      ["Registry", `${many(registry.services.size, "service")}, ${many(registry.instanceCount, "instance")}, ${many(this.app.policies.length, "policy", "policies")}`],
      ["State", `fingerprint ${node.fingerprint}: equal on agents that know the same`],
    ];
    if (node.clock_skew !== null) facts.push(["Clock", `${Math.abs(node.clock_skew).toFixed(3)} s ${node.clock_skew < 0 ? "behind" : "ahead of"} its peers`]);
    fill(this.extra, el("dl", {}, facts.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, given(text))))));
  }
}

function problem(each, now) {
  const [sign, word] = LEVEL[each.level];
  const title = each.href ? el("a", { href: each.href }, given(each.title)) : given(each.title);
  return el("li", { class: each.level },
    el("span", { class: "sign", role: "img", "aria-label": word }, sign),
    el("div", {},
      el("p", { class: "what" }, title, each.since > 1 ? el("time", { "data-at": each.since, "data-seen": each.isSeen, title: clock(each.since) }, ageOf(each.since, now, each.isSeen)) : null),
      each.why ? el("p", { class: "why" }, given(each.why)) : null,
      each.todo ? el("p", { class: "todo" }, el("b", {}, `${T.toDo}: `), given(each.todo)) : null));
}

function ageOf(since, now, isSeen) {
  return (isSeen ? T.seenSince : T.since)(clock(since, now), age(now - since));
}
