"""Fuzzing of every parser that reads bytes of outsiders, peers, clients, or a damaged disk: docs/fuzzing.md."""
