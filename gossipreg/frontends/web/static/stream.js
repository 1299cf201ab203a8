// The connection to the agent's events: read as they come, and begun again whenever it ends.

import { EventParser } from "./sse.js";
import { T } from "./text.js";

const SILENCE_MS = 40_000; // a keep-alive comes every 15 s
const RETRY_MS = [500, 1000, 2000, 4000, 8000]; // then always the last

export class EventStream {
  state = "connecting"; // connecting, live, lost or paused
  since = null; // when it was lost (ms)
  reason = "";
  retryAt = null; // when it is begun again (ms)
  #api;
  #abort = null;
  #timer = 0;
  #failures = 0;
  #liveAt = 0; // when it was last begun (ms)

  /** `hear(name, data)` is called with each event, `tell()` when the state has changed. */
  constructor(api, { hear, tell }) {
    this.#api = api;
    this.hear = hear;
    this.tell = tell;
  }

  /** Begin now, whatever was planned. */
  start() {
    this.stop("connecting");
    this.#run();
  }

  /** Begin now if it is lost, and would be begun again only later. */
  hasten() {
    if (this.retryAt) this.start();
  }

  /** Take it for lost: another request was sent at `begun` (ms), and is not answered. */
  suspect(begun) {
    if (this.state === "live" && begun > this.#liveAt) this.#lose(this.#abort, T.noTimely, undefined, begun);
  }

  /** End it, for `state`. */
  stop(state = "paused") {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.retryAt = null;
    if (this.state === "live") this.since = Date.now();
    if (!(state === "connecting" && this.state === "lost")) this.state = state; // lost until it is live again
    this.tell();
  }

  async #run() {
    const abort = (this.#abort = new AbortController());
    let watchdog = 0;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => this.#lose(abort, T.silent), SILENCE_MS);
    };
    try {
      alive();
      const response = await this.#api.ask("GET", "events?all", { signal: abort.signal });
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { value, done } = await reader.read();
        if (done) break;
        alive();
        for (const [name, data] of parser.push(value)) {
          if (name === "snapshot") this.#live();
          this.hear(name, data);
        }
      }
      this.#lose(abort, T.streamEnded);
    } catch (error) {
      this.#lose(abort, error.status ? error.message : T.noFetch, error.status);
    } finally {
      clearTimeout(watchdog);
    }
  }

  #live() {
    this.#failures = 0;
    this.state = "live";
    this.#liveAt = Date.now();
    this.since = null;
    this.tell();
  }

  #lose(abort, reason, status, since = Date.now()) {
    if (abort !== this.#abort) return; // another has begun, or it was ended on purpose
    abort.abort();
    this.#abort = null;
    this.since ??= since;
    this.state = "lost";
    this.reason = reason;
    if (status === 401 || status === 403) { // another token is needed first
      this.retryAt = null;
    } else {
      const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2);
      this.retryAt = Date.now() + wait;
      this.#timer = setTimeout(() => this.start(), wait);
    }
    this.tell();
  }
}
