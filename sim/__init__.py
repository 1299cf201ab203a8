"""Clusters of the production protocol on a virtual clock and network: partitions, pauses and liars, from a seed."""
