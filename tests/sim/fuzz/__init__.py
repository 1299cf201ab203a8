"""Tests of the fuzzer: generation, workers, results and shrinking."""
