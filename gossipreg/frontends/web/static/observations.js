// What the members observe: asked of the agent while a page needs it, rarely in a large cluster.

const MEMBER_MS = 100; // for each member: asking costs it a stream
const ASKED_MS = [500, 2500]; // at least and at most
const LARGE = 64; // members from which on it is asked for rarely
const LARGE_MS = 30_000;
const WANTED_MS = 3000; // a page that needs it says so more often than that

export class Observations {
  told = null; // the latest answer, with `ownStatus`: what this agent believed then
  error = "";
  #wantedAt = 0;
  #timer = 0; // until the next is asked for
  #isAsking = false;

  constructor(app) {
    this.app = app;
  }

  /** A page needs it now. */
  ask() {
    this.#wantedAt = Date.now();
    if (!this.#isAsking && !this.#timer) this.#run();
  }

  async #run() {
    this.#timer = 0;
    if (document.hidden || this.app.api.isDown || Date.now() - this.#wantedAt > WANTED_MS) return;
    this.#isAsking = true;
    const { members } = this.app.registry;
    try {
      const told = await this.app.api.get("observations");
      this.told = { ...told, ownStatus: [...members.values()].map((each) => [each.name, each.status]).concat([[told.observer, "alive"]]) };
      this.error = "";
    } catch (error) {
      if (!this.app.api.isDown) this.told = null; // else it belongs to the state of then, which is shown
      this.error = error.message;
    }
    this.#isAsking = false;
    const pause = members.size > LARGE ? LARGE_MS : Math.max(ASKED_MS[0], Math.min(ASKED_MS[1], MEMBER_MS * members.size));
    this.#timer = setTimeout(() => this.#run(), pause);
    this.app.changed();
  }
}
