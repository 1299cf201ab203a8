"""Oracle of relays: when all agree, each side of a border has one or two of them, and all nodes know the same."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process


@attrs.define
class BorderRelays(Oracle):
    """A border between two cells has one to four relays, two of each side at the most."""

    law: ClassVar[str] = "a border has one or two relays on each side, the same for all nodes of that side"

    def finish(self) -> None:
        """Compare the relays that nodes have elected."""
        if self.context.healed_in is None or self.context.outside:
            self.not_applicable("the nodes did not come to agree, or some are apart for good")
            return
        cells: dict[str, list[Process]] = {}
        for process in self.cluster.alive:
            if not process.engine.identity.left:
                cells.setdefault(process.engine.identity.cell, []).append(process)
        for cell, members in cells.items():
            for other in cells:
                if other != cell:
                    self._compare(members, other)

    def _compare(self, members: list[Process], other: str) -> None:
        elected = [each.engine.state.cells.relays(other) for each in members if each.engine.state.cells is not None]
        alike = all(relays == elected[0] for relays in elected)
        self.check(members[0], alike, f"and others of its cell elect different relays to {other}")
        living = [name for name in elected[0] if self.cluster.running(name) is not None]
        self.check(members[0], 1 <= len(living) <= 2, f"elects {living} as relays to {other}")
