"""Knows that `python -m gossipreg` is the `gossipreg` command."""

from gossipreg.cli import main

main()
