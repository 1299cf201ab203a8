"""Tests of bytes to messages and back, and of the seals around them."""
