"""Virtual time: a heap of events, ordered by (time, order of scheduling).

The determinism contract (docs/simulator.md): time is an integer number of nanoseconds; every random number comes from
a stream named after its purpose, so that removing one fault changes no other draw; no set is iterated and no clock is
read.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

import attrs

from gossipreg_sim.rng import Rng

#: Nanoseconds in a second.
SECOND: Final = 1_000_000_000

#: The wall-clock time at the start of a run: 2026-01-01T00:00:00Z, in ms since the epoch.
EPOCH_MS: Final = 1_767_225_600_000

Event = Callable[[], None]


class RunawaySimulation(Exception):
    """The run exceeded its limit of events: messages multiply without end."""


def ns(seconds: float) -> int:
    """Return ``seconds`` as whole nanoseconds."""
    return round(seconds * SECOND)


@attrs.define
class World:
    """The virtual clock and its event queue."""

    seed: int
    now: int = 0  # ns
    events: int = 0  # events run so far
    events_max: int = 1 << 62  # limit after which the run is aborted
    _queue: list[tuple[int, int, Event]] = attrs.field(factory=list)
    _serial: int = 0

    @property
    def seconds(self) -> float:
        """The time in seconds."""
        return self.now / SECOND

    def at(self, when: int, event: Event) -> None:
        """Schedule ``event`` at ``when`` (ns), or now if that is in the past."""
        self._serial += 1
        heapq.heappush(self._queue, (max(when, self.now), self._serial, event))

    def after(self, delay: int, event: Event) -> None:
        """Schedule ``event`` in ``delay`` (ns), or now if that is negative."""
        self._serial += 1
        heapq.heappush(self._queue, (self.now + delay if delay > 0 else self.now, self._serial, event))

    def rng(self, *purpose: object) -> Rng:
        """Return the random stream for one purpose, independent of draws from other streams."""
        return Rng.of(self.seed, *purpose)

    def run(self, until: int) -> None:
        """Run all events up to and including ``until`` (ns). Raises `RunawaySimulation` at ``events_max``."""
        agenda, pop = self._queue, heapq.heappop
        while agenda and agenda[0][0] <= until:
            self.now, _, event = pop(agenda)
            self.events += 1
            event()
            if self.events > self.events_max:
                raise RunawaySimulation
        self.now = max(self.now, until)
