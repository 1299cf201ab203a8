"""Knows how long what this node says waits for more to share its packets.

Theory of operation (docs/decisions/0021). News waits for a couple of ms, in which a caller that registers a few
instances one after the other has registered them. Where the CPU is short that is too little: each packet wakes the
whole cluster, and those who run on the same machine keep the next news from being said, so that hardly any two share a
packet. That shows itself: what was due is sent late. So a late departure has the next one held back for twice as long,
up to a limit, and one in time for half as long; after a pause news is quick again.
"""

from __future__ import annotations

import math

import attrs


@attrs.define(eq=False, repr=False)
class Company:
    """The next departure of what this node says. ``least`` and ``most`` are how long one is held back (seconds)."""

    least: float
    most: float
    _hold: float = attrs.field(init=False)  # for how long the next departure is held back
    _is_awaited: bool = False
    _leaves: float = -math.inf  # when it leaves, or the last one left

    def __attrs_post_init__(self) -> None:
        self._hold = self.least

    def departure(self, now: float) -> float:
        """When to send what is said at ``now`` (seconds); it may be over, if nobody has sent what was due."""
        if not self._is_awaited:
            if now >= self._leaves + self.most:
                self._hold = self.least
            self._leaves = now + self._hold
        self._is_awaited = True
        return self._leaves

    def sent(self, now: float) -> None:
        """All that is due within ``least`` of ``now`` is sent."""
        if not self._is_awaited or self._leaves > now + self.least:
            return
        is_late = now - self._leaves > self.least
        self._hold = max(self.least, min(2 * self._hold, self.most) if is_late else self._hold / 2)
        self._is_awaited = False
        self._leaves = now
