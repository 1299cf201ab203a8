"""memberlist's gossip: on a fixed tick, each update a fixed number of times, those sent least often first.

This protocol gossips an update at once and then at growing intervals. What a blocked agent has sent before its block,
and so how soon an accused member learns of its suspicion, depends on the tick. Ticks missed during a block are made up.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Final

import attrs

from gossipreg.protocol.dissemination.broadcast_queue import Batch, BroadcastQueue, Key, Topic
from gossipreg.protocol.wire.messages import pack
from gossipreg_sim.process import Process

#: Time between ticks (seconds), and memberlist's retransmit multiplier: transmissions per digit of the member count.
TICK: Final = 0.2
_RETRANSMIT: Final = 4


@attrs.define
class _Queued:
    data: bytes
    serial: int
    times: int = 0


@attrs.define
class TickQueue(BroadcastQueue):
    """memberlist's broadcast queue. Updates piggybacked on probes and acks count as transmissions."""

    next_tick: float = 0.0
    most: int = _RETRANSMIT  # maximum transmissions of an update
    _queued: dict[Key, _Queued] = attrs.field(factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        return len(self._queued)

    @property
    def deadline(self) -> float:
        """Return the time of the next tick (seconds), or infinity if the queue is empty."""
        return self.next_tick if self._queued else math.inf

    def enqueue(
        self,
        topic: Topic,
        about: Hashable,
        data: bytes,
        now: float,
        *,
        origin: str | None = None,  # noqa: ARG002 - memberlist tells members at random
        wait: float = 0.0,  # noqa: ARG002 - flushed on the tick
    ) -> None:
        """Queue ``data``, the packed update; it replaces a queued update about the same subject."""
        if not self._queued and self.next_tick < now:
            self._skip_ticks(now)  # ticks of an empty queue are skipped
        self._count += 1
        self._queued[topic, about] = _Queued(data, self._count)

    def _skip_ticks(self, now: float) -> None:
        self.next_tick += TICK * math.ceil((now - self.next_tick) / TICK)

    def flush(self, room: int, members: int, now: float) -> list[Batch]:
        """Return the updates that this tick sends to each of its targets."""
        if now < self.deadline:
            return []
        self._skip_ticks(now)
        self.most = _RETRANSMIT * math.ceil(math.log10(members + 1))
        return [Batch(None, self._take(room, self.settings.gossip_fanout))]

    def piggyback(self, room: int, now: float) -> list[bytes]:  # noqa: ARG002 -- another of its kind needs it
        """Return updates that fit into ``room`` bytes of a packet that is sent anyway."""
        return self._take(room, 1) if self._queued else []

    def _take(self, room: int, transmissions: int) -> list[bytes]:
        taken = []
        for key, update in sorted(self._queued.items(), key=lambda item: (item[1].times, -item[1].serial)):
            if len(update.data) > room:
                continue
            room -= len(update.data)
            taken.append(update.data)
            update.times += transmissions
            if update.times >= self.most:
                del self._queued[key]
        return taken


def use_ticks(process: Process) -> None:
    """Make a newly started process gossip on ticks, with a random phase."""
    engine = process.engine
    broadcasts = TickQueue(engine.settings, next_tick=process.now + engine.rng.random() * TICK)
    if engine.identity.announced:
        broadcasts.enqueue(Topic.MEMBERSHIP, engine.identity.name, pack(engine.identity.own_update()), process.now)
    engine.state.broadcaster.queue = broadcasts
