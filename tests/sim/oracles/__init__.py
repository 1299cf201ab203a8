"""Tests of the oracles: they report violations, and nothing else."""
