"""Seldom: what is said at most once in a while about one thing, and at most so often about all things together."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

import attrs


@attrs.define(eq=False, repr=False)
class LogLimiter:
    """Decides whether something may be said again. Memory is bounded, whatever the things are called.

    ``seconds``: least time between two words about one thing. ``most``: words about all things in that time, which is
    also how many things are told apart.
    """

    seconds: float
    most: int
    _said: dict[Hashable, float] = attrs.field(factory=dict)
    _moments: deque[float] = attrs.field(factory=deque)

    def admit(self, thing: Hashable, now: float) -> bool:
        """Whether ``thing`` is to be told of at ``now`` (seconds); if so, it is taken as told."""
        while self._moments and now - self._moments[0] >= self.seconds:
            self._moments.popleft()
        self._said = {known: at for known, at in self._said.items() if now - at < self.seconds}
        if thing in self._said or len(self._moments) >= self.most:
            return False
        self._said[thing] = now
        self._moments.append(now)
        return True
