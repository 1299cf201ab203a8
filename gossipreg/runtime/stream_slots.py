"""Stream slots: which accepted streams a node keeps open, and which is evicted when there are too many.

A peer that connects has proven nothing, and neither does its hello: the key's id in it is in clear on the wire. What
proves a peer is its first authentic frame. So there are two pools:

- *Unproven* streams. When the pool is full, the oldest stream of the source that holds most of it is evicted for
  the newcomer. A member needs two round trips to prove itself, so it gets in however many slots strangers hold.
- *Proven* streams, whose peers hold the key. Strangers cannot evict these. When the pool is full a source that
  holds fewer of them takes a slot from the one that holds most: its oldest stream that is no lifeline, or else its
  oldest stream.

A source is an IPv4 address, or a /64 of IPv6, which is what one host is given.
"""

from __future__ import annotations

from collections import Counter

import attrs

from gossipreg import limits
from gossipreg.hosts import source_of


@attrs.define(eq=False, repr=False)
class _Slot:
    source: str
    proven: bool = False
    is_lifeline: bool = False  # its peer may be silent


@attrs.define(eq=False, repr=False)
class StreamSlots:
    """The accepted streams of one node, by number; the caller closes a stream that is returned as evicted."""

    _slots: dict[int, _Slot] = attrs.field(factory=dict)  # the oldest first; a proven one counts from its proof

    def admit(self, stream: int, host: str) -> int | None:
        """Give an unproven slot to ``stream``, which comes from ``host``. Returns the evicted stream, if any."""
        source = source_of(host)
        pool = self._pool(proven=False)
        victim = None
        if len(pool) >= limits.STREAMS_UNPROVEN_MAX:
            greediest, _ = _greediest(pool, source)
            victim = next(stream for stream, slot in pool.items() if slot.source == greediest)
            del self._slots[victim]
        self._slots[stream] = _Slot(source)
        return victim

    def prove(self, stream: int) -> int | None:
        """Give a proven slot to ``stream``, on which an authentic frame came. Returns the evicted stream, if any.

        That is ``stream`` itself if no source holds more slots than its own would. A stream that is proven, or
        was evicted, changes nothing.
        """
        slot = self._slots.get(stream)
        if slot is None or slot.proven:
            return None
        pool = self._pool(proven=True)
        victim = None
        if len(pool) >= limits.STREAMS_IN_MAX:
            victim = _proven_victim(pool, slot.source)
            if victim is None:
                del self._slots[stream]
                return stream
            del self._slots[victim]
        del self._slots[stream]
        slot.proven = True
        self._slots[stream] = slot
        return victim

    def keep(self, stream: int) -> None:
        """``stream`` is a lifeline: among those of its source it is evicted last."""
        slot = self._slots.get(stream)
        if slot is not None:
            slot.is_lifeline = True

    def release(self, stream: int) -> None:
        """``stream`` has ended."""
        self._slots.pop(stream, None)

    def _pool(self, *, proven: bool) -> dict[int, _Slot]:
        return {stream: slot for stream, slot in self._slots.items() if slot.proven is proven}


def _greediest(pool: dict[int, _Slot], newcomer: str) -> tuple[str, int]:
    """The source that holds most of ``pool``, and how many more than the ``newcomer``'s source would, with one more."""
    held = Counter(slot.source for slot in pool.values())
    with_newcomer = held[newcomer] + 1
    if newcomer in held:
        held[newcomer] = with_newcomer
    greediest = max(held, key=lambda source: (held[source], source == newcomer))
    return greediest, held[greediest] - with_newcomer


def _proven_victim(pool: dict[int, _Slot], newcomer: str) -> int | None:
    """The stream of the full ``pool`` to evict for the ``newcomer``; None if the newcomer's source has its share."""
    greediest, more = _greediest(pool, newcomer)
    if more <= 0:
        return None
    theirs = [stream for stream, slot in pool.items() if slot.source == greediest]
    return next((stream for stream in theirs if not pool[stream].is_lifeline), theirs[0])
