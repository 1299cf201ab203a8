"""Oracles: the invariants of a run, one class each. They see the global state, which no node can see."""
