"""The oracles see what is wrong, and nothing else."""
