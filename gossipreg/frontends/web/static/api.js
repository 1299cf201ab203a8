// The agent's HTTP API, at a path relative to the page's, so that a proxy may put both below a path of its own.

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
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, "the agent does not answer");
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    const refused = new ApiError(response.status, told.error ?? `the agent answered ${response.status}`);
    if (response.status === 401 || response.status === 403) this.onRefused(refused, method);
    throw refused;
  }

  /** What a GET answers, as JSON. */
  async get(path, options) {
    return (await this.ask("GET", path, options)).json();
  }
}
