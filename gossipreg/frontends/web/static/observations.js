// What the members observe: asked of the agent while a page needs it, rarely in a large cluster.

const ASKED_MS = 2500;
const LARGE = 64; // members from which on it is asked for rarely
const LARGE_MS = 30_000;

export class Observations {
  told = null; // the latest answer, with `ownStatus`: what this agent believed then
  error = "";
  #askedAt = 0;
  #isAsking = false;

  constructor(app) {
    this.app = app;
  }

  async ask() {
    const { members } = this.app.registry;
    const pause = members.size > LARGE ? LARGE_MS : ASKED_MS;
    if (this.#isAsking || document.hidden || Date.now() - this.#askedAt < pause) return;
    this.#isAsking = true;
    try {
      const told = await this.app.api.get("observations");
      this.told = { ...told, ownStatus: [...members.values()].map((each) => [each.name, each.status]).concat([[told.observer, "alive"]]) };
      this.error = "";
    } catch (error) {
      this.told = null;
      this.error = error.message;
    }
    this.#askedAt = Date.now();
    this.#isAsking = false;
    this.app.changed();
  }
}
