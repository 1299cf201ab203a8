"""Tests of the published experiments."""
