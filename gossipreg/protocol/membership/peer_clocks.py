"""Peer clocks: how far this node's wall clock is from those of the members that it talks to.

Theory of operation (docs/decisions/0032). Acks, and the first frames of a join, carry the sender's wall clock. A
reading is kept as the distance between the peer's wall clock and this node's *steady* clock, so that a wall clock that
is set here shows at once against readings that are a minute old. Of the latest readings the median counts: one peer
whose clock is wrong moves it little.
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from gossipreg.median import median
from gossipreg.values import frozen

#: How far a wall clock may be from the others' (seconds) before a node is not admitted, and reports it. Sealed packets
#: are refused from 30 s on (`FRESHNESS_SECONDS`); the reading of a stream may be some seconds old.
CLOCK_SKEW_MAX = 25.0

#: Readings kept, the latest of as many members.
_READINGS_MAX = 16

#: How long a reading counts (seconds of the steady clock, which stands still while a machine is suspended).
_READING_SECONDS = 120.0


@frozen
class WallClock:
    """The sender's wall clock: milliseconds since the epoch."""

    ms: int


@attrs.define(eq=False, repr=False)
class PeerClocks:
    """The latest readings of the wall clocks of others, by run id."""

    _readings: OrderedDict[int, tuple[float, float]] = attrs.field(
        factory=OrderedDict
    )  # run id -> (offset in ms, when)

    def note(self, run_id: int, ms: float, now: float) -> None:
        """At ``now`` (seconds, steady) the wall clock of ``run_id`` showed ``ms``."""
        self._readings[run_id] = (ms - now * 1000, now)
        self._readings.move_to_end(run_id)
        if len(self._readings) > _READINGS_MAX:
            self._readings.popitem(last=False)

    def skew(self, offset: float, now: float) -> float | None:
        """How far a wall clock that is ``offset`` ms from the steady one is ahead of the peers' (seconds).

        None when nothing was read lately.
        """
        fresh = [theirs for theirs, at in self._readings.values() if now - at <= _READING_SECONDS]
        return (offset - median(fresh)) / 1000 if fresh else None
