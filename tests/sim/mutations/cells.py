"""Mutations of cells: what crosses a border, and what a node does that hears none of its cell."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.borders import Borders
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.remote_handler import RemoteHandler
from gossipreg_sim.fault import Fault
from gossipreg_sim.scenario import Scenario, Workload
from tests.sim.mutations.mutation import mutation

#: A cell is split within, three nodes against three.
SPLIT_CELL = Scenario(
    name="split cell",
    title="One of two cells is split within",
    nodes=11,
    cells=2,
    warmup=5.0,
    duration=24.0,
    quiet=6.0,
    workload=Workload(instances=1),
    faults=(Fault(kind="cut", nodes=("n0", "n2", "n4"), to=("n6", "n8", "n10"), at=1.0, lasts=22.0),),
    sometimes=("failed", "revived"),
)

#: Of a cell of four all hosts but one are lost at once.
LAST_OF_A_CELL = Scenario(
    name="last of a cell",
    title="All hosts of a cell but one are lost",
    nodes=7,
    cells=2,
    warmup=5.0,
    duration=6.0,
    quiet=60.0,
    faults=(Fault(kind="crash-host", nodes=("n0", "n2", "n4"), at=1.0),),
)

#: Two cells are cut off from each other for longer than what is old counts as fresh.
CUT_BORDER = Scenario(
    name="cut border",
    title="Two cells are cut off from each other",
    nodes=6,
    cells=2,
    warmup=5.0,
    duration=22.0,
    quiet=6.0,
    workload=Workload(instances=1, churn=1.0),
    faults=(Fault(kind="cut", nodes=("cell:cell-1",), at=1.0, lasts=20.0),),
)


@mutation(SPLIT_CELL, "SplitCell")
def a_member_never_learns_that_a_part_of_its_cell_has_failed_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RemoteHandler, "_tell_accused", lambda *_: None)


@mutation(LAST_OF_A_CELL, "Healing")
def the_last_node_of_a_cell_asks_no_other_cell(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Borders, "_ask_elsewhere", lambda *_: None)


@mutation(CUT_BORDER, "CellAges")
def the_age_of_a_cell_is_that_of_its_last_change(patch: pytest.MonkeyPatch) -> None:
    original = Cells.note_head

    def note_head(self: Cells, head: CellHead, now: float, wall: float) -> bool:
        return original(self, attrs.evolve(head, confirmed=head.confirmed + 5000), now + 5.0, wall)

    patch.setattr(Cells, "note_head", note_head)


@mutation(CUT_BORDER, "CellAuthority")
def a_relay_declares_members_of_another_cell_failed(patch: pytest.MonkeyPatch) -> None:
    original = RemoteHandler._merge

    def merge(self: RemoteHandler, update: MemberUpdate, cells: Cells, context: MessageContext, now: float) -> None:
        failed = attrs.evolve(update, status=max(update.status, Status.FAILED), accuser=1)
        original(self, failed, cells, context, now)

    patch.setattr(RemoteHandler, "_merge", merge)
