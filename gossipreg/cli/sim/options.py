"""Options that several `gossipreg sim` commands share."""

from __future__ import annotations

import click

#: ``--seed N``.
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of all random numbers."
)
