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
class BatchingWindow:
    """The next departure of what this node says. ``least`` and ``most`` are how long one is held back (seconds)."""

    least: float
    most: float
    _wait: float = attrs.field(init=False)  # for how long the next departure is held back
    _is_pending: bool = False
    _send_at: float = -math.inf  # when it leaves, or the last one left

    def __attrs_post_init__(self) -> None:
        self._wait = self.least

    def send_at(self, now: float) -> float:
        """When to send what is said at ``now`` (seconds); it may be over, if nobody has sent what was due."""
        if not self._is_pending:
            if now >= self._send_at + self.most:
                self._wait = self.least
            self._send_at = now + self._wait
        self._is_pending = True
        return self._send_at

    def sent(self, now: float) -> None:
        """All that is due within ``least`` of ``now`` is sent."""
        if not self._is_pending or self._send_at > now + self.least:
            return
        is_late = now - self._send_at > self.least
        self._wait = max(self.least, min(2 * self._wait, self.most) if is_late else self._wait / 2)
        self._is_pending = False
        self._send_at = now
