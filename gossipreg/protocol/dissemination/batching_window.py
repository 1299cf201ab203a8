"""The batching window: how long a broadcast of this node waits for others to share its packets (adaptive coalescing).

Theory of operation (docs/decisions/0021). A broadcast waits for a couple of ms, in which a caller that registers a few
instances one after the other has registered them. Where the CPU is short that is too little: each packet wakes the
whole cluster, and the nodes on the same machine delay the next broadcast, so that hardly any two share a packet. This
can be detected: what was due is sent late. So a late departure doubles the wait of the next one, up to a limit, and
one in time halves it; after a pause broadcasts are quick again.

A departure in time that several broadcasts shared also doubles the wait, up to a smaller limit (docs/decisions/0066):
in a stream of broadcasts each packet wakes every node of the cluster, whose cost is the wakeups and not the records.
"""

from __future__ import annotations

import math

import attrs

#: How long a stream of broadcasts may be held back while the CPU is not short, in least waits: 24 ms by default.
_STREAM_WAITS = 12


@attrs.define(eq=False, repr=False)
class BatchingWindow:
    """The next departure of this node's broadcasts. ``least`` and ``most`` bound the wait (seconds)."""

    least: float
    most: float
    _wait: float = attrs.field(init=False)  # how long the next departure waits
    _pending: int = 0  # how many broadcasts the next departure has
    _send_at: float = -math.inf  # when it leaves, or the last one left

    def __attrs_post_init__(self) -> None:
        self._wait = self.least

    def send_at(self, now: float) -> float:
        """When to send what is broadcast at ``now`` (seconds); it may be past, if nothing that was due was sent."""
        if not self._pending:
            if now >= self._send_at + self.most:
                self._wait = self.least
            self._send_at = now + self._wait
        self._pending += 1
        return self._send_at

    def sent(self, now: float) -> None:
        """All that is due within ``least`` of ``now`` is sent."""
        if not self._pending or self._send_at > now + self.least:
            return
        is_late = now - self._send_at > self.least
        stream = min(_STREAM_WAITS * self.least, self.most)
        if is_late:
            self._wait = max(self.least, min(2 * self._wait, self.most))
        elif self._pending > 1 and self._wait <= stream:
            self._wait = max(self.least, min(2 * self._wait, stream))
        else:
            self._wait = max(self.least, self._wait / 2)
        self._pending = 0
        self._send_at = now
