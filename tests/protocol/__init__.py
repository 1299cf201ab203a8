"""Tests of the protocol and its machines, without I/O."""
