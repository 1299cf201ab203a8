"""Oracle 1: a node's belief about a member never regresses."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.model import Status
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process


@attrs.define
class MonotonicBeliefs(Oracle):
    """The held (generation, incarnation, gravity) only rises; in one incarnation alive → suspect → failed → left.

    A failed member that was forgotten may return in any state. One that left may return only in a later run.
    """

    law: ClassVar[str] = "a node's belief about a member never regresses"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _ranks: dict[tuple[Process, str], tuple[int, int, int]] = attrs.field(factory=dict)

    def see(self, process: Process, output: Output) -> None:
        """Compare each new belief with the last one of this observer about this subject."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        if output.after is None:
            assert output.before is not None, "only a known member can be forgotten"
            if output.before.status is not Status.LEFT:
                self._ranks.pop((process, output.before.name), None)
            return
        after = output.after
        rank = (after.generation, after.incarnation, int(after.status))
        before = self._ranks.get((process, after.name), (-1, -1, -1))
        is_new = rank > before or (rank == before and output.before is None)  # a forgotten member is learned again
        self.check(process, is_new or after.name == process.name, f"{after.name} regressed from {before} to {rank}")
        self._ranks[process, after.name] = rank
