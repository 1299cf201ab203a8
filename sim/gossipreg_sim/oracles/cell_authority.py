"""Oracles of cells: no node holds of another cell's member what that cell has not held, and no relay passes it on."""

from __future__ import annotations

from typing import ClassVar

import attrs

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.wire.reader import unpack
from gossipreg_sim.cluster import PacketTrace
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

#: What is claimed of a member: name, generation, incarnation, status.
_Claim = tuple[str, int, int, Status]


@attrs.define
class CellAuthority(Oracle):
    """Each verdict on a member was first held in its own cell, and no node is a member of another's cell."""

    law: ClassVar[str] = "only a cell declares its members failed: others hold what some node of that cell has held"

    _held: dict[_Claim, None] = attrs.field(factory=dict)  # by nodes of the member's own cell
    _seen: dict[tuple[Process, str], MemberUpdate] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """Note what a node holds of its own cell, and compare what it holds of others."""
        cells = process.engine.state.cells
        if cells is None:
            return
        for update in process.engine.state.members.snapshot():
            if self._seen.get((process, update.name)) is not update:
                self._seen[process, update.name] = update
                self.check(
                    process, update.cell == cells.own, f"holds {update.name} of the cell {update.cell} as a member"
                )
                self._held[_claim(update)] = None
                if update.status is Status.SUSPECT:  # others hold it alive
                    self._held[_claim(attrs.evolve(update, status=Status.ALIVE))] = None
        for update in cells.remote:
            if self._seen.get((process, update.name)) is not update:
                self._seen[process, update.name] = update
                own = process.engine.state.members.get(update.name)
                self.check(process, own is None, f"holds {update.name} as a member of two cells")
                said = f"holds {update.name} of the cell {update.cell} {update.status}, which no node there has held"
                self.check(process, _claim(update) in self._held, said)


def _claim(update: MemberUpdate) -> _Claim:
    return update.name, update.generation, update.incarnation, update.status


@attrs.define
class CellOrigin(Oracle):
    """What crosses a border is about members of the two cells there, and crosses on streams."""

    law: ClassVar[str] = "a border is crossed by what one of its two cells owns, on streams"

    def __attrs_post_init__(self) -> None:
        self.cluster.packet_taps.append(self._crossed)

    def _crossed(self, trace: PacketTrace) -> None:
        scenario = self.context.scenario
        ends = scenario.cell_of(trace.sender), scenario.cell_of(trace.receiver)
        if ends[0] == ends[1] or not trace.data:
            return
        self.checks += 1
        if not trace.on_stream:
            self.wrong(trace.sender, f"sends a packet to {trace.receiver}, a node of another cell")
            return
        for message in unpack(trace.data)[1]:
            owner = message.name if isinstance(message, MemberUpdate) else None
            owner = message.owner if isinstance(message, Record | TableDigest) else owner
            if owner is not None and scenario.cell_of(owner) not in ends:
                self.wrong(trace.sender, f"tells {trace.receiver} of {owner}, a member of a third cell")
