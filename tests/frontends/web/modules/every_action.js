// One action of each kind; run by itself, it prints their command lines as JSON.

import { instanceActions, memberActions, removePolicy, setSplit } from "./actions.js";

export const state = { node: { name: "alpha", draining: false }, policies: [], registry: { members: new Map() } };
export const mine = { id: "a/1", service: "orders", owner: "alpha", health: "passing", reason: "", weight: 1 };
export const other = { ...mine, id: "b", owner: "beta" };

export const EVERY = [
  ...instanceActions(mine, state), ...instanceActions(other, state), ...instanceActions({ ...mine, health: "maintenance" }, state),
  ...memberActions({ name: "alpha", status: "alive" }, state), ...memberActions({ name: "beta", status: "failed" }, state),
  ...memberActions({ name: "alpha", status: "alive" }, { node: { name: "alpha", draining: true } }),
  removePolicy({ key: "split:orders", kind: "split", service: "orders", by: "tag", shares: { v1: 1 } }),
  setSplit("orders", "tag", { v1: 90, v2: 10 }, null), setSplit("orders", "zone", { "eu-1": 1 }, null),
];

if (process.argv.includes("--print")) {
  console.log(JSON.stringify(EVERY.map((each) => each.command({ reason: "new disk", weight: "5" }))));
}
