"""Conformance: in the same scene, simulated nodes and the production driver reach the same beliefs."""
