"""One node of a cluster that is too large to simulate: what learning, revising and telling the state costs it.

The node is real, its peers are not there: what they would send is passed in. So time and memory grow with the number
of members, and not with its square.
"""

from __future__ import annotations

import time
from random import Random
from typing import Final

import attrs

from gossipreg.model import Address, Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.engine_creation import create_engine
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import SendFrame
from gossipreg.protocol.wire.messages import pack, pack_sender

#: Newcomers that join by the node at once.
NEWCOMERS: Final = 500

#: A generation like any other (ms since the epoch).
_BORN: Final = 1_767_225_600_000


@attrs.frozen
class OneNode:
    """What was measured. Times are of CPU, in seconds, but for ``all_told``."""

    members: int
    learn: float  # one member
    revise: float  # one change of belief: suspected, and alive again
    tell: float  # the whole state, to one newcomer
    told_bytes: int
    longest: float  # the longest step while `NEWCOMERS` join at once
    all_told: float  # until the last of them was told, on the node's clock (seconds)


def measure_one_node(members: int) -> OneNode:
    """Measure an engine that knows ``members`` other members."""
    engine = create_engine(
        name="self",
        generation=_BORN,
        address=Address("10.255.0.1", 7940),
        zone="",
        settings=EngineSettings(),
        rng=Random(0),
        has_seeds=False,
        packet_room=1400,
        now=0.0,
    )
    updates = [_update(number) for number in range(members)]
    began = time.process_time()
    for update in updates:
        engine.state.believe(update, 0.0, spread=False)
    learned = time.process_time()
    for update in updates:
        engine.state.believe(attrs.evolve(update, status=Status.SUSPECT), 0.0, spread=False)
        engine.state.believe(attrs.evolve(update, incarnation=1), 0.0, spread=False)
    revised = time.process_time()
    tell, told_bytes = _tell(engine, 1, 1.0)
    longest, all_told = _tell_many(engine, 2.0)
    return OneNode(
        members=members,
        learn=(learned - began) / members,
        revise=(revised - learned) / (2 * members),
        tell=tell,
        told_bytes=told_bytes,
        longest=longest,
        all_told=all_told,
    )


def _update(number: int) -> MemberUpdate:
    address = Address(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 7940)
    return MemberUpdate(f"n{number}", _BORN + number, 0, Status.ALIVE, address)


def _comparison(number: int) -> tuple[bytes, Address]:
    """What a newcomer sends, and its address."""
    new = attrs.evolve(_update(number), name=f"new{number}", address=Address("10.254.0.1", 1024 + number))
    return pack_sender(new.run_id) + pack(Compare((0,) * BUCKETS)) + pack(End()), new.address


def _tell(engine: Engine, number: int, now: float) -> tuple[float, int]:
    """Answer one newcomer: how long that takes, and how many bytes it is."""
    frame, address = _comparison(number)
    began = time.process_time()
    outputs = engine.stream_frame(-number, frame, address, now)
    took = time.process_time() - began
    return took, sum(len(each.frame) for each in outputs if isinstance(each, SendFrame))


def _tell_many(engine: Engine, now: float) -> tuple[float, float]:
    """Have `NEWCOMERS` join at once: the longest step, and how long it takes until all were told."""
    longest, began = 0.0, now
    for number in range(2, 2 + NEWCOMERS):
        took, _ = _tell(engine, number, now)
        longest = max(longest, took)
    while engine.frame_handler.pacing.deadline < float("inf"):
        now = engine.frame_handler.pacing.deadline
        step = time.process_time()
        engine.frame_handler.handle_timeout(now)
        longest = max(longest, time.process_time() - step)
        engine.outbox.take()
    return longest, now - began
