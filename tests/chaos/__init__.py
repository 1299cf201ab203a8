"""Chaos tests: real agents under seeded faults, and a checker that compares their answers with a history."""
