"""Fuzzing of every parser that reads bytes from outsiders, peers, clients, or a damaged disk: docs/fuzzing.md."""
