// The page: connects to the agent, keeps what it tells, and shows the part that the URL names.

import { Access } from "./access.js";
import { Api } from "./api.js";
import { ConfirmDialog } from "./confirm.js";
import { attribute, el, fill, given, say } from "./dom.js";
import { Members } from "./members.js";
import { Registry } from "./model.js";
import { Overview } from "./overview.js";
import { Policies } from "./policies.js";
import { findProblems, isGrave } from "./problems.js";
import { hash, parse } from "./route.js";
import { ServicePage } from "./service.js";
import { Services } from "./services.js";
import { Observations } from "./observations.js";
import { EventStream } from "./stream.js";
import { T } from "./text.js";
import { age, clock } from "./time.js";
import { TokenDialog } from "./token.js";

const POLL_MS = 1000; // what has no events: the agent itself, policies, checks
const POLL_SHARE = 5; // how many times as long as an answer took passes before the next is asked for
const HIDDEN_MS = 60_000; // a page in the background lets its connection go after that

const PAGES = {
  overview: (app) => new Overview(app),
  services: (app) => new Services(app),
  service: (app, name) => new ServicePage(app, name),
  members: (app) => new Members(app),
  policies: (app) => new Policies(app),
  access: (app) => new Access(app),
};

class App {
  api = new Api();
  registry = new Registry();
  node = null;
  policies = [];
  unreadable = [];
  checks = [];
  observations = new Observations(this);
  scopes = new Set();
  route = parse(location.hash);
  panicked = false;
  #ahead = 0; // of the agent's clock to this one (seconds)
  #problems = null;
  #view = null;
  #place = "";
  #frame = 0;
  #hiding = 0;
  #panics = null;
  #seen = new Map(); // by the key of a problem: since when it is known
  #polled = 0;
  #pollFrom = 0; // when the next regular poll may be (ms); Infinity while one is waited for
  #pollAgain = false; // whether another is needed then: it was asked for before what has happened since

  constructor() {
    this.stream = new EventStream(this.api, {
      hear: (name, data) => this.#hear(name, data), tell: () => this.#state(),
    });
    this.api.onSilence = (begun) => this.stream.suspect(begun);
    this.tokens = new TokenDialog((token) => this.#use(token));
    this.confirm = new ConfirmDialog(this.api, () => this.#poll());
    this.api.onRefused = (error) => this.#refused(error);
    this.#header();
    addEventListener("hashchange", () => this.#go());
    addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("visibilitychange", () => this.#visible());
    for (const event of ["focus", "online"]) addEventListener(event, () => this.stream.hasten());
    setInterval(() => { if (Date.now() >= this.#pollFrom) this.#poll(); }, POLL_MS);
    setInterval(() => { this.#state(); this.changed(); }, 1000); // ages, and the countdown to the next attempt
    this.stream.start();
    this.#poll();
    this.#go();
  }

  /** The time of what is shown, by the agent's clock: seconds since the epoch. It stands still while nothing is heard. */
  now() {
    return (this.lostAt ?? Date.now()) / 1000 + this.#ahead;
  }

  /** Since when the agent is not heard (ms); null while it is, and before it was. */
  get lostAt() {
    return this.registry.known && this.stream.state !== "live" ? this.stream.since : null;
  }

  /** The word for a moment before the agent's account begins. */
  before() {
    const from = this.registry.completeFrom;
    return from ? T.before(clock(from, this.now())) : "–";
  }

  get problems() {
    return (this.#problems ??= this.#find());
  }

  /** What the members observe, as it was told last; null if that is not known. */
  get observed() {
    return this.observations.told;
  }

  /** Since when a problem is known to this page. */
  seen(key) {
    if (!this.#seen.has(key)) this.#seen.set(key, this.now());
    return this.#seen.get(key);
  }

  #find() {
    const found = findProblems(this);
    const keys = new Set(found.map((each) => each.key));
    for (const key of this.#seen.keys()) if (!keys.has(key)) this.#seen.delete(key);
    return found;
  }

  /** Show anew, once in the next frame, what may have changed. */
  changed() {
    this.#problems = null;
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  /** Change the search or filters of the place where the viewer is. */
  refine(query) {
    const { page, name } = this.route;
    history.replaceState(null, "", hash(page, name, { ...this.route.query, ...query }));
    this.route = parse(location.hash);
    this.#render();
  }

  #hear(name, data) {
    this.registry.apply(name, data, this.now());
    if (name === "snapshot") {
      this.#recall();
      this.#poll();
    }
    else if (!name.startsWith("instance-")) this.#pollSoon();
    this.changed();
  }

  /** Ask for the last hour, after each snapshot: what happened while the page was not connected is in it. */
  async #recall() {
    try {
      const history = await this.api.get("changes");
      this.#ahead = history.now - Date.now() / 1000;
      this.registry.recall(history);
      this.changed();
    } catch { /* the state of the connection says so */ }
  }

  /** Ask for what has no events, after an event that it may be about. */
  #pollSoon() {
    clearTimeout(this.#polled);
    this.#polled = setTimeout(() => this.#poll(), 200);
  }

  async #poll() {
    if (document.hidden || this.tokens.element.open || this.api.isDown) return;
    if (this.#pollFrom === Infinity) return void (this.#pollAgain = true);
    const begun = Date.now();
    this.#pollFrom = Infinity;
    try {
      const [node, policies, checks, token] = await Promise.all(["node", "policies", "checks", "token"].map((path) => this.api.get(path)));
      const panics = node.counters.panicked_lookups ?? 0;
      this.panicked = this.#panics !== null && panics > this.#panics;
      this.#panics = panics;
      this.node = node;
      this.policies = policies.policies;
      this.unreadable = policies.unreadable;
      this.checks = checks.checks;
      this.scopes = new Set(token.scopes);
      if (this.scopes.has("operator")) this.scopes.add("policy"); // see docs/scopes.md
      this.#tokenName = token.name;
      this.tokenButton.hidden = !token.required;
      this.changed();
    } catch { /* the state of the connection says so */ }
    this.#pollFrom = begun + POLL_SHARE * (Date.now() - begun);
    if (this.#pollAgain) {
      this.#pollAgain = false;
      this.#poll();
    }
  }

  #tokenName = null;

  #use(token) {
    this.api.use(token);
    this.stream.start();
    this.#poll();
  }

  #refused(error) {
    this.tokenButton.hidden = false;
    if (error.status === 401) this.tokens.open(this.api.hasToken ? T.token.unknown : "");
    else if (!this.registry.known) this.tokens.open(error.message);
  }

  // Where the viewer is

  #go() {
    this.route = parse(location.hash);
    const place = `${this.route.page}/${this.route.name}`;
    const isFirst = this.#place === "";
    if (place !== this.#place) {
      this.#place = place;
      this.#view?.destroy?.();
      this.#view = PAGES[this.route.page](this, this.route.name);
      fill(document.getElementById("main"), this.#view.element);
      scrollTo(0, 0);
      if (!isFirst) this.#view.heading.focus({ preventScroll: true });
    }
    this.#render();
  }

  #render() {
    this.#frame = 0;
    const problems = this.registry.known ? this.problems.filter((each) => isGrave(each)).length : 0;
    const lost = this.lostAt === null ? "" : "✖ ";
    document.title = `${lost}${problems ? `(${problems}) ` : ""}${this.#view.title} · ${this.node?.name ?? "gossipreg"}`;
    this.#navigation(problems);
    this.#view.render(this.route);
  }

  #header() {
    this.agent = el("span", { class: "agent" });
    this.links = [["overview", T.overview], ["services", T.services], ["members", T.members], ["policies", T.policies], ["access", T.access.short]].map(([page, word]) =>
      el("a", { href: hash(page), "data-page": page }, word, el("span", { class: "number" })));
    this.mark = el("span", { class: "connection" });
    this.tokenButton = el("button", { type: "button", class: "small", hidden: true, on: { click: () => this.tokens.open() } }, T.token.button);
    fill(document.getElementById("head"), el("a", { class: "brand", href: hash("overview") }, "gossipreg"), this.agent,
      el("nav", { "aria-label": "Pages" }, this.links), this.mark, this.tokenButton);
  }

  #navigation(problems) {
    const { registry } = this;
    const present = [...registry.members.values()].filter((each) => each.status !== "left").length;
    const numbers = { overview: problems || "", services: registry.services.size || "", members: present || "", policies: this.policies.length || "", access: "" };
    const here = this.route.page === "service" ? "services" : this.route.page;
    for (const link of this.links) {
      attribute(link, "aria-current", link.dataset.page === here ? "page" : null);
      say(link.querySelector(".number"), String(numbers[link.dataset.page]));
    }
    this.links[0].classList.toggle("bad", problems > 0);
    if (this.node) fill(this.agent, given(`${this.node.name} · ${this.node.cluster}`));
    this.tokenButton.title = this.#tokenName ? T.token.has(this.#tokenName, [...this.scopes]) : T.token.hint;
  }

  // The connection

  #state() {
    const { state, since, reason, retryAt } = this.stream;
    this.api.isDown = state === "lost" || state === "paused";
    const bar = document.getElementById("state");
    say(this.mark, state === "live" ? `● ${T.live}` : state === "paused" ? T.paused : state === "lost" ? "✖" : T.connecting);
    this.mark.className = `connection ${state}`;
    bar.hidden = state !== "lost";
    document.body.classList.toggle("lost", state === "lost");
    if (state !== "lost") return void say(bar, "");
    const sentence = this.registry.known ? T.notConnected(clock(since / 1000), reason) : T.neverConnected(reason);
    if (!bar.firstChild || bar.dataset.sentence !== sentence) {
      bar.dataset.sentence = sentence;
      fill(bar, el("span", {}, sentence), " ", el("span", { "aria-live": "off" }), " ",
        el("button", { type: "button", class: "small", on: { click: () => this.stream.start() } }, T.retryNow));
    }
    const next = retryAt ? T.retryIn(Math.max(0, Math.ceil((retryAt - Date.now()) / 1000))) : T.trying;
    say(bar.children[1], this.registry.known ? `${T.ago(age((Date.now() - since) / 1000))} ${next}` : next);
  }

  #visible() {
    clearTimeout(this.#hiding);
    if (document.hidden) this.#hiding = setTimeout(() => this.stream.stop(), HIDDEN_MS);
    else if (this.stream.state === "lost") this.stream.hasten();
    else if (this.stream.state === "paused") {
      this.stream.start();
      this.#poll();
    }
  }

  #key(event) {
    if (event.key !== "/" || event.target.matches("input, textarea, select") || event.ctrlKey || event.metaKey) return;
    const search = document.querySelector('main input[type="search"]');
    if (!search) return;
    event.preventDefault();
    search.focus();
  }
}

new App();
