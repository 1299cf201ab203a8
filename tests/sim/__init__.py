"""Tests of the simulator: determinism, faults, oracles, reports and fuzzing."""
