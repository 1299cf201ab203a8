// The agent's HTTP API, at a path relative to the page's, so that a proxy may put both below a path of its own.

const PATIENCE_MS = 6000; // how long a read may take: an agent that is paused accepts it, and says nothing
const BASE = new URL("../api/v1/", document.baseURI);

/** An answer other than success: `status`, and the agent's sentence. A status of 0: there was no answer. */
export class ApiError extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export class Api {
  #token = ""; // in memory only
  onRefused = () => {}; // called with an ApiError of 401 or 403
  onSilence = () => {}; // called when a read was not answered in time, with when it was asked for (ms)
  isDown = false; // whether the agent is known to be gone: then reads are not sent, so that only the stream tries again
  #reading = new Map(); // by path: answers that are waited for

  /** The token to show, empty for none. */
  use(token) {
    this.#token = token;
  }

  get hasToken() {
    return this.#token !== "";
  }

  /** The address of a path below /api/v1/. */
  url(path) {
    return new URL(path, BASE);
  }

  /** The response to one request; raises an `ApiError` unless it is a success. */
  async ask(method, path, { body, signal } = {}) {
    const headers = this.#token ? { "X-Gossipreg-Token": this.#token } : {};
    let response;
    try {
      response = await fetch(this.url(path), {
        method, headers, signal, cache: "no-store", credentials: "same-origin",
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      if (error.name === "AbortError" || error.name === "TimeoutError") throw error;
      throw new ApiError(0, "the agent does not answer");
    }
    if (method !== "GET") this.#reading.clear(); // what is read from now on was asked for after this change
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    const refused = new ApiError(response.status, told.error ?? `the agent answered ${response.status}`);
    if (response.status === 401 || response.status === 403) this.onRefused(refused, method);
    throw refused;
  }

  /** What a GET answers, as JSON. One that is waited for is not asked for again: all callers have the same answer. */
  get(path) {
    if (this.isDown) return Promise.reject(new ApiError(0, "the agent does not answer"));
    let reading = this.#reading.get(path);
    if (!reading) {
      reading = this.#read(path).finally(() => { if (this.#reading.get(path) === reading) this.#reading.delete(path); });
      this.#reading.set(path, reading);
    }
    return reading;
  }

  async #read(path) {
    const begun = Date.now();
    try {
      return await (await this.ask("GET", path, { signal: AbortSignal.timeout(PATIENCE_MS) })).json();
    } catch (error) {
      if (error.name !== "TimeoutError") throw error;
      this.onSilence(begun);
      throw new ApiError(0, "the agent does not answer in time");
    }
  }
}
