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
    help="""Run a cluster on a virtual clock and network, from a seed.

    The nodes run the same protocol as real ones, byte for byte. Partitions, losses, pauses, crashes and liars come
    from a scenario, every die from the seed; what must never be is looked for at every step.

    Examples:
      gossipreg sim list
      gossipreg sim run split-brain --seed 1
      gossipreg sim fuzz --seeds 500
    """,
    sections={"Commands": (run, why, diff, fuzz, reproduce, scale, list_)},
)
