"""memberlist's gossip: on a fixed tick, each update so many times, those sent least often first.

Ours sends at birth and then ever more rarely; but what a blocked agent has told before it was blocked, and so how
soon somebody accused hears of it, hangs on the tick. A tick that came while sending was held up is made up for.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Final

import attrs

from gossipreg.protocol.dissemination.broadcast_queue import Batch, BroadcastQueue, Key, Topic
from gossipreg.protocol.wire.messages import pack
from gossipreg_sim.process import Process

#: Time between ticks (seconds), and how often an update is sent for each digit of the number of members.
TICK: Final = 0.2
_RETRANSMIT: Final = 4


@attrs.define
class _Told:
    data: bytes
    serial: int
    times: int = 0


@attrs.define
class Ticks(BroadcastQueue):
    """The updates being spread. What is piggybacked on probes and acks counts as sent, too."""

    next_tick: float = 0.0
    most: int = _RETRANSMIT  # how often an update is told
    _told: dict[Key, _Told] = attrs.field(factory=dict)
    _count: int = 0

    def __len__(self) -> int:
        return len(self._told)

    @property
    def deadline(self) -> float:
        """The next tick (seconds), or infinity when there is nothing to tell."""
        return self.next_tick if self._told else math.inf

    def enqueue(
        self,
        topic: Topic,
        about: Hashable,
        data: bytes,
        now: float,
        *,
        origin: str | None = None,  # noqa: ARG002 - memberlist tells members at random
        wait: float = 0.0,  # noqa: ARG002 - it has its tick
    ) -> None:
        """Spread ``data``, the packed update, in place of what was said about the same thing."""
        if not self._told and self.next_tick < now:
            self._pass_ticks(now)  # with nothing to tell they went by
        self._count += 1
        self._told[topic, about] = _Told(data, self._count)

    def _pass_ticks(self, now: float) -> None:
        self.next_tick += TICK * math.ceil((now - self.next_tick) / TICK)

    def flush(self, room: int, members: int, now: float) -> list[Batch]:
        """What this tick tells to the same few members."""
        if now < self.deadline:
            return []
        self._pass_ticks(now)
        self.most = _RETRANSMIT * math.ceil(math.log10(members + 1))
        return [Batch(None, self._take(room, self.settings.gossip_fanout))]

    def piggyback(self, room: int, now: float) -> list[bytes]:  # noqa: ARG002
        """Updates that fit into ``room`` bytes of a packet that goes out anyway."""
        return self._take(room, 1) if self._told else []

    def _take(self, room: int, tellings: int) -> list[bytes]:
        taken = []
        for key, told in sorted(self._told.items(), key=lambda item: (item[1].times, -item[1].serial)):
            if len(told.data) > room:
                continue
            room -= len(told.data)
            taken.append(told.data)
            told.times += tellings
            if told.times >= self.most:
                del self._told[key]
        return taken


def tick(process: Process) -> None:
    """Let a process that has just been started spread updates in ticks, at a moment of its own."""
    engine = process.engine
    broadcasts = Ticks(engine.settings, next_tick=process.now + engine.rng.random() * TICK)
    if engine.identity.announced:
        broadcasts.enqueue(Topic.MEMBERSHIP, engine.identity.name, pack(engine.identity.own_update()), process.now)
    engine.state.broadcasts = broadcasts
