"""Runs drawn from seeds, in search of one in which something that must hold does not; and the least such run."""
