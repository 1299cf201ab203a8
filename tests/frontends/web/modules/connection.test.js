// The connection to the agent: how often one that is gone is asked, and when at once.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

globalThis.document = { baseURI: "http://localhost/ui/" };
const { Api } = await import("./api.js");
const { EventStream } = await import("./stream.js");

const settled = async () => { for (let turn = 0; turn < 50; turn++) await Promise.resolve(); };
const gone = () => Promise.reject(new TypeError("fetch failed"));

/** Let `seconds` pass, in steps, with what follows from each. */
async function pass(seconds) {
  for (let step = 0; step < seconds * 20; step++) {
    mock.timers.tick(50);
    await settled();
  }
}

async function withFetch(answer, body) {
  const asked = [];
  globalThis.fetch = (url, { method = "GET" } = {}) => {
    asked.push(`${method} ${url.pathname.replace("/api/v1/", "")}`);
    return answer(url);
  };
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  try {
    await body(asked);
  } finally {
    mock.timers.reset();
  }
}

/** A stream of which an event comes, and nothing more. */
function streaming(signal) {
  const text = 'event: snapshot\ndata: {"members":[],"instances":[]}\n\n';
  return { ok: true, body: new ReadableStream({ start: (each) => {
    each.enqueue(new TextEncoder().encode(text));
    signal.addEventListener("abort", () => each.error(signal.reason));
  } }) };
}

test("an agent that is gone is asked ever more rarely, and by the stream only", async () => {
  await withFetch(gone, async (asked) => {
    const api = new Api();
    const stream = new EventStream(api, { hear: () => {}, tell: () => { api.isDown = stream.state === "lost"; } });
    stream.start();
    await settled();
    assert.equal(stream.state, "lost");
    for (const path of ["node", "policies", "observations"]) await assert.rejects(api.get(path), { status: 0 });
    await pass(60);
    assert.ok(asked.every((each) => each === "GET events"), "reads wait for the stream");
    assert.ok(asked.length <= 15, `${asked.length} requests in a minute`);
    assert.equal(stream.since, 1_000_000);
    await pass(60);
    assert.ok(asked.length <= 26, `${asked.length} requests in two minutes`);
    stream.stop();
  });
});

test("attempts are not in step: each waits a time of its own", async () => {
  const waits = new Set();
  await withFetch(gone, async () => {
    for (let each = 0; each < 20; each++) {
      const stream = new EventStream(new Api(), { hear: () => {}, tell: () => {} });
      stream.start();
      await settled();
      waits.add(Math.round(stream.retryAt - Date.now()));
      stream.stop();
    }
  });
  assert.ok(waits.size > 5);
  assert.ok([...waits].every((each) => each >= 375 && each <= 625));
});

test("a viewer that comes back, or a network, has the next attempt be made at once", async () => {
  await withFetch(gone, async (asked) => {
    const stream = new EventStream(new Api(), { hear: () => {}, tell: () => {} });
    stream.start();
    await pass(30);
    const before = asked.length;
    stream.hasten();
    await settled();
    assert.equal(asked.length, before + 1);
    stream.stop();
    stream.hasten();
    await settled();
    assert.equal(asked.length, before + 1, "one that was ended on purpose stays so");
  });
});

test("an agent that accepts requests and answers none is lost after some seconds", async () => {
  const requests = [];
  globalThis.fetch = (url, { signal }) => (url.pathname.endsWith("events") ? Promise.resolve(streaming(signal)) : new Promise((_, refuse) => {
    requests.push(url.pathname);
    signal.addEventListener("abort", () => refuse(signal.reason));
  }));
  const timeout = AbortSignal.timeout;
  AbortSignal.timeout = (ms) => timeout.call(AbortSignal, ms / 100);
  const api = new Api();
  const states = [];
  const stream = new EventStream(api, { hear: () => {}, tell: () => states.push(stream.state) });
  api.onSilence = (begun) => stream.suspect(begun);
  try {
    stream.start();
    while (stream.state !== "live") await new Promise(setImmediate);
    await new Promise((next) => setTimeout(next, 5));
    const begun = Date.now();
    await Promise.all([1, 2, 3].map(() => assert.rejects(api.get("node"), /does not answer in time/)));
    assert.deepEqual(requests, ["/api/v1/node"], "what is waited for is not asked for again");
    assert.equal(stream.state, "lost");
    assert.ok(stream.since >= begun - 1 && stream.since <= begun + 5, "since it was asked");
  } finally {
    stream.stop();
    AbortSignal.timeout = timeout;
  }
});
