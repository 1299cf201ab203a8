"""Tests of the protocol's identity."""
