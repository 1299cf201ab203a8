"""What tests of the disseminator share: a crowd of members, what is sent to them, and receipts from them."""

from __future__ import annotations

from typing import Any

from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import Output, Transmit
from gossipreg.protocol.registry.records import Record, RecordRequest
from gossipreg.protocol.wire.messages import Message
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.making import history, many_members, packet, said_to, update

B = update("b", port=7001)


CROWD = many_members(30)


OWNER = CROWD[4]


OF_OWNER = history([("x", 1), ("y", 1), ("y", None), ("z", 3)], owner=OWNER.name).said


def sent(outputs: list[Output], *kinds: type[Any]) -> list[tuple[str, Message]]:
    """The messages of these kinds that go to members of the crowd, with the receiver's name."""
    names = {member.address: member.name for member in (*CROWD, B)}
    return [
        (names[each.to], message)
        for each in outputs
        if isinstance(each, Transmit) and each.to in names
        for message in unpack(each.data)[1]
        if isinstance(message, kinds)
    ]


def receivers(outputs: list[Output], kind: type[Any] = Record) -> list[str]:
    return [name for name, _ in sent(outputs, kind)]


def numbers(outputs: list[Output]) -> dict[str, int]:
    """The number that each receiver is asked to acknowledge."""
    return {name: each.number for name, each in sent(outputs, ReceiptRequest) if isinstance(each, ReceiptRequest)}


def acknowledge(node: Engine, outputs: list[Output], now: float, *names: str) -> list[Output]:
    by_name = {member.name: member for member in (*CROWD, B)}
    after: list[Output] = []
    for name, number in numbers(outputs).items():
        if not names or name in names:
            after += node.receive(packet(by_name[name], Receipt((number,))), by_name[name].address, now)
    return after


def told_owner(node: Engine, *records: Record, now: float = 6.0) -> list[Output]:
    node.receive(packet(OWNER, *records), OWNER.address, now)
    return node.handle_timeout(now)


def asked(node: Engine, request: RecordRequest, *, of: MemberUpdate = B, now: float = 7.0) -> list[Message]:
    return said_to(node.receive(packet(of, request), of.address, now), of.address)
