// Picks: what is asked of the agent, and how its answer is drawn.

import assert from "node:assert/strict";
import { test } from "node:test";
import { pickRows, picksPath } from "./picks.js";

test("what is left at its default is not asked for", () => {
  assert.equal(picksPath("a/b", {}), "picks/a%2Fb?count=100");
  assert.equal(picksPath("orders", { strategy: "random", zone: "eu 1" }), "picks/orders?count=100&caller_zone=eu+1");
  assert.equal(picksPath("orders", { strategy: "round-robin", tag: "v1", role: "primary" }), "picks/orders?count=100&strategy=round-robin&tag=v1&role=primary");
});

test("bars are relative to the longest of what was drawn and what was to be expected", () => {
  const chosen = [{ id: "a", owner: "x", picks: 80, share: 0.9 }, { id: "b", owner: "x", picks: 20, share: 0.1 }];
  const [first, second] = pickRows({ chosen, picks: 100 });
  assert.deepEqual([first.part, first.expected], [80 / 90, 1]);
  assert.deepEqual([second.part, second.expected], [20 / 90, 10 / 90]);
  assert.deepEqual(pickRows({ chosen: [], picks: 0 }), []);
  assert.equal(pickRows({ chosen: Array.from({ length: 99 }, (_, place) => ({ id: `${place}`, picks: 1, share: 0.01 })), picks: 99 }).length, 30);
});
