"""Doors translate between the node and the world outside the process; they never decide."""
