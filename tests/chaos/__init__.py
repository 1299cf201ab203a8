"""Chaos: real agents under seeded faults, and a checker that compares what they show with what was acknowledged."""
