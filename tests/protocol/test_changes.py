"""A message that changes what a node holds says so before it does: else an exception half-way would be contained."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.cells.cell_head import CellHead
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ack, Nack
from gossipreg.protocol.message_context import MessageContext
from gossipreg.protocol.registry.records import TableDigest
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.wire.messages import Message
from tests.protocol.making import address, engine, history, instance, introduce, packet, update
from tests.protocol.test_engine import B, C, among
from tests.protocol.unproven_answers import questions

D: Final = update("d", port=7003)

#: What is no part of the state: caches, random numbers, outputs, what was counted, and the count of changes itself.
_LEFT_OUT: Final = {"counters", "rng", "_rng", "reader", "verifier", "signatures", "outbox", "changes"}
#: What may be noted without a change: which questions a stream has asked, and what is left of a budget of answers.
_NOTES: Final = ("._sessions[", "_record_budget.")


def held(thing: Any, path: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Every value within ``thing``, with its path."""
    if thing is None or isinstance(thing, int | float | str | bytes | enum.Enum):
        yield path, repr(thing)
    elif id(thing) in seen or isinstance(thing, Random) or (callable(thing) and not attrs.has(type(thing))):
        return
    else:
        seen.add(id(thing))
        parts: list[tuple[str, Any]]
        if isinstance(thing, dict):
            parts = [(f"[{key!r}]", value) for key, value in thing.items()]
        elif isinstance(thing, list | tuple | deque | set | frozenset):
            parts = [(f"[{number}]", value) for number, value in enumerate(thing)]
        else:
            fields = [each.name for each in attrs.fields(type(thing))] if attrs.has(type(thing)) else vars(thing)
            parts = [(f".{name}", getattr(thing, name, None)) for name in fields if name not in _LEFT_OUT]
        yield f"{path}.len", str(len(parts))
        for name, part in parts:
            yield from held(part, path + name, seen)


def snapshot(node: Engine) -> dict[str, str]:
    return {path: value for path, value in held(node, "node", set()) if not any(each in path for each in _NOTES)}


def flat() -> Engine:
    node = among(B, C, D)
    node.register(instance("own"), 1.0)
    node.receive(packet(B, *history([("x", 1), ("y", 1)]).said), B.address, 2.0)
    node.handle_timeout(6.0)
    return node


def of_a_cell() -> Engine:
    node = engine("a", cell="east")
    introduce(node, *(attrs.evolve(each, cell="east") for each in (B, C, D)))
    node.register(instance("own"), 1.0)
    node.handle_timeout(6.0)
    return node


def deletion() -> TableDigest:
    """The digest by which ``b`` says that it has deleted an instance."""
    registry = Registry(B.name)
    for id_ in ("x", "y"):
        registry.offer(instance(id_, weight=1), B.generation)
    registry.delete("x", B.generation)
    table = registry.table(B.name)
    assert table is not None
    digest = table.digest_after(2)
    assert digest is not None
    return digest


def messages() -> list[Message]:
    remote = attrs.evolve(update("far", port=7300), cell="west")
    return [
        *questions(flat(), B).values(),
        *(attrs.evolve(B, incarnation=1), attrs.evolve(B, status=Status.SUSPECT, accuser=C.run_id)),
        *(attrs.evolve(B, status=Status.FAILED, accuser=C.run_id), attrs.evolve(B, status=Status.LEFT)),
        *(attrs.evolve(B, status=Status.FAILED, accuser=C.run_id, refused=True), update("new", port=7200)),
        *(update("a", Status.SUSPECT, port=7000), update("a", generation=B.generation + 1, port=7009)),
        *(Ack(1, 0, 0), Ack(1, 0, 7), Nack(1)),
        *history([("x", 1), ("y", 1), ("x", None)]).said,
        deletion(),
        *(remote, attrs.evolve(remote, status=Status.FAILED)),
        attrs.evolve(B, cell="west"),
        CellHead("west", 1, 7, 0, (address(7300),), 5),
    ]


@pytest.mark.parametrize("make", [flat, of_a_cell])
@pytest.mark.parametrize("stream", [None, -1])
@pytest.mark.parametrize("sender", [C, None], ids=["member", "stranger"])
def test_what_a_message_changes_it_has_begun_to_change(
    make: Callable[[], Engine], stream: int | None, sender: MemberUpdate | None
) -> None:
    for message in messages():
        node = make()
        member = None if sender is None else node.members.by_run_id(sender.run_id)
        context = MessageContext(99 if member is None else member.run_id, C.address, member, stream)
        if stream is not None:
            node.sessions.get(stream, C.address)
        before, changes = snapshot(node), node.state.changes
        node.inbound.handle(message, context, 7.0)
        after = snapshot(node)
        if node.state.changes == changes:
            assert {path for path in before | after if before.get(path) != after.get(path)} == set(), message
