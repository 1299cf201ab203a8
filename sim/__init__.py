"""Simulates clusters of the production engine on a virtual clock and network."""
