"""Command group `gossipreg sim`: clusters on a virtual clock."""

from __future__ import annotations

from gossipreg.cli.help_page import SectionedGroup
from gossipreg.cli.sim.diff import diff
from gossipreg.cli.sim.fuzz import fuzz
from gossipreg.cli.sim.list_ import list_
from gossipreg.cli.sim.reproduce import reproduce
from gossipreg.cli.sim.run import run
from gossipreg.cli.sim.scale import scale
from gossipreg.cli.sim.why import why

sim = SectionedGroup(
    name="sim",
    help="""Simulate clusters on a virtual clock and network.

    The nodes run the same protocol code as real ones, byte for byte. Partitions, packet loss, pauses, crashes and
    forged packets come from a scenario, and all random numbers from the seed. Invariants are checked at every step.

    Examples:
      gossipreg sim list
      gossipreg sim run split-brain --seed 1
      gossipreg sim fuzz --seeds 500
    """,
    sections={"Commands": (run, why, diff, fuzz, reproduce, scale, list_)},
)
