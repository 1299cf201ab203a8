"""Runs the health checks of this node's own instances."""
