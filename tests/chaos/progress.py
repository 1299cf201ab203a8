"""Progress: time that counts only while the run and its agents get CPU time."""

from __future__ import annotations

import time

import attrs
import trio

#: Length of a tick (seconds).
_TICK = 0.1


@attrs.define(eq=False)
class Progress:
    """A clock that advances by one tick per iteration, however long the iteration took.

    On a machine that is ten times too slow, a bound of 60 s by this clock is ten minutes by the wall clock.
    """

    now: float = 0.0  # seconds
    began: float = attrs.field(factory=time.monotonic)

    async def run(self) -> None:
        """Count, until cancelled."""
        while True:
            await trio.sleep(_TICK)
            self.now += _TICK

    def slowness(self) -> float:
        """Seconds of the wall clock per second of progress so far."""
        return (time.monotonic() - self.began) / self.now if self.now else 1.0

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` of progress."""
        until = self.now + seconds
        while self.now < until - _TICK / 2:  # noqa: ASYNC110 -- progress has no event to wait for
            await trio.sleep(_TICK)
