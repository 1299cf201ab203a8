"""Time as this machine makes it: seconds that count only where the run and its agents got the CPU to use them."""

from __future__ import annotations

import time

import attrs
import trio

#: How often it is counted (seconds).
_TICK = 0.1


@attrs.define(eq=False)
class Progress:
    """A clock that each turn moves on by one tick, however long the turn took.

    On a machine that is ten times slower than it should be, a bound of 60 s by this clock is ten minutes by the wall's.
    """

    now: float = 0.0  # seconds
    began: float = attrs.field(factory=time.monotonic)

    async def run(self) -> None:
        """Count, until cancelled."""
        while True:
            await trio.sleep(_TICK)
            self.now += _TICK

    def slowness(self) -> float:
        """How many seconds of the wall clock one second of progress has taken so far."""
        return (time.monotonic() - self.began) / self.now if self.now else 1.0

    async def sleep(self, seconds: float) -> None:
        """Wait for so much progress."""
        until = self.now + seconds
        while self.now < until - _TICK / 2:  # noqa: ASYNC110 -- nobody tells when a machine has got so far
            await trio.sleep(_TICK)
