"""Fuzzing of scenarios: runs generated from seeds, in search of one that violates an oracle, and its smallest form."""
