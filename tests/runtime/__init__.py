"""Tests of the protocol on trio."""
