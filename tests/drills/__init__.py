"""Drills: real agents, real sockets, real signals; what the cluster does when things go wrong."""
