"""A node of a cell, and what peers of other cells say to it, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.cells.cells import Cells
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import OpenStream, Output, SendFrame
from gossipreg.protocol.wire.messages import Message
from tests.protocol.making import engine, packet, spoken, update

STRANGER = 77  # the run id of a relay of another cell
SUMS = (0,) * 256


def node(name: str = "a0", cell: str = "a", **fields: Any) -> Engine:
    return engine(name, cell=cell, **fields)


def of_cell(name: str, cell: str, status: Status = Status.ALIVE, *, incarnation: int = 0, age: int = 0) -> MemberUpdate:
    port = 7100 + ord(name[0]) + int(name[1:])
    return attrs.evolve(update(name, status, port=port, incarnation=incarnation, age=age), cell=cell)


def head(cell: str = "b", size: int = 1, relays: Sequence[Address] = (Address("10.9.9.9", 7000),)) -> CellHead:
    return CellHead(cell, size, 1, 0, tuple(relays))


def says(to: Engine, *said: Message, stream: int = -1, sender: int = STRANGER, now: float = 1.0) -> list[Output]:
    return to.stream_frame(stream, packet(sender, *said), Address("10.9.9.9", 40_000), now)


def replies(outputs: list[Output]) -> list[Message]:
    return [said for output in outputs if isinstance(output, SendFrame) for said in spoken(output.frame)]


def cells_of(made: Engine) -> Cells:
    assert made.state.cells is not None
    return made.state.cells


def opened(outputs: list[Output]) -> list[OpenStream]:
    return [each for each in outputs if isinstance(each, OpenStream)]
