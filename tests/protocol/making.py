"""Factories of updates, instances, records and engines, with defaults and for hypothesis."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import attrs
from hypothesis import settings
from hypothesis import strategies as st

from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.peer_clocks import WallClock
from gossipreg.protocol.outputs import OpenStream, Output, Transmit
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg.protocol.wire.reader import unpack

#: How busy the machine is, is not a law's business.
law = settings(deadline=None)

#: A generation like any other (ms since the epoch).
BORN = 1_767_225_600_000


def address(port: int = 7000) -> Address:
    return Address("10.0.0.1", port)


def update(
    name: str = "b",
    status: Status = Status.ALIVE,
    *,
    generation: int = BORN,
    incarnation: int = 0,
    port: int = 7001,
    zone: str = "",
    draining: bool = False,
    accuser: int = 0,
    age: int = 0,
) -> MemberUpdate:
    return MemberUpdate(name, generation, incarnation, status, address(port), zone, draining, accuser, age)


def many_members(count: int) -> list[MemberUpdate]:
    """``count`` members at addresses of their own."""
    return [update(f"m{number}", port=7100 + number) for number in range(count)]


def updates(name: st.SearchStrategy[str] = st.just("b")) -> st.SearchStrategy[MemberUpdate]:  # noqa: B008 - immutable
    """Updates with so few values each that ties are common."""
    return st.builds(
        MemberUpdate,
        name=name,
        generation=st.integers(1, 3),
        incarnation=st.integers(0, 2),
        status=st.sampled_from(Status),
        address=st.builds(Address, st.sampled_from(["10.0.0.1", "10.0.0.2"]), st.integers(1, 2)),
        zone=st.sampled_from(["", "east", "west"]),
        draining=st.booleans(),
        accuser=st.integers(0, 3),
        age=st.integers(0, 5),
    )


def instance(id_: str = "orders-1", **fields: Any) -> Instance:
    return attrs.evolve(Instance(id=id_, service="orders", host="10.0.0.1", port=80), **fields)


@attrs.frozen
class History:
    """Everything that an owner has said in one run, in its order, and the ids that it offers in the end."""

    said: tuple[Record, ...]
    offered: tuple[Record, ...]


def history(steps: Iterable[tuple[str, int | None]], *, owner: str = "b", generation: int = BORN) -> History:
    """What an owner says: each step offers an id with a weight or, with None, withdraws it if it is offered."""
    registry = Registry(owner)
    said = []
    for id_, weight in steps:
        table = registry.table(owner)
        if weight is not None:
            record, _ = registry.offer(instance(id_, weight=weight), generation)
        elif table is not None and table.get(id_) is not None:
            record, _ = registry.delete(id_, generation)
        else:
            continue
        said.append(record)
    return History(tuple(said), tuple(registry.table(owner) or ()))


def histories(max_steps: int = 12) -> st.SearchStrategy[History]:
    """Short runs of owners with few ids, so that deleting and registering again are common."""
    steps = st.lists(
        st.tuples(st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 3))), min_size=1, max_size=max_steps
    )
    return steps.map(history)


def engine(name: str = "a", *, has_seeds: bool = False, now: float = 0.0, **fields: Any) -> Engine:
    """An engine on its own, settled unless it has seeds."""
    given: dict[str, Any] = {
        "generation": BORN,
        "address": address(7000),
        "zone": "",
        "settings": EngineSettings(lifelines=0),
        "rng": Random(1),
        "packet_room": 1350,
    }
    return create_engine(name=name, has_seeds=has_seeds, now=now, **{**given, **fields})


def packet(sender: MemberUpdate | int, *messages: Message) -> bytes:
    """A packet, or a frame, from a member or a run id."""
    run_id = sender if isinstance(sender, int) else sender.run_id
    return pack_sender(run_id) + b"".join(map(pack, messages))


def introduce(to: Engine, *members: MemberUpdate, now: float = 0.0) -> None:
    """Let an engine learn of members, each by its own word."""
    for member in members:
        to.receive(packet(member, member), member.address, now)


def said_to(outputs: Iterable[Output], to: Address) -> list[Message]:
    """The messages in the datagrams and first frames that go to ``to``, but for what clocks show."""
    said: list[Message] = []
    for output in outputs:
        if isinstance(output, Transmit) and output.to == to:
            said += unpack(output.data)[1]
        elif isinstance(output, OpenStream) and output.to == to:
            said += unpack(output.frame)[1]
    return [message for message in said if not isinstance(message, WallClock)]


def spoken(data: bytes) -> list[Message]:
    """The messages of a packet or frame, but for what a clock shows."""
    return [message for message in unpack(data)[1] if not isinstance(message, WallClock)]
