"""The simulator: it is deterministic, and it does to a cluster what a scenario says."""
