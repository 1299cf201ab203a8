"""The batching window: how long a broadcast of this node waits for others to share its packets (adaptive coalescing).

Theory of operation (docs/decisions/0021). A broadcast waits for a couple of ms, in which a caller that registers a few
instances one after the other has registered them. Where the CPU is short that is too little: each packet wakes the
whole cluster, and the nodes on the same machine delay the next broadcast, so that hardly any two share a packet. This
can be detected: what was due is sent late. So a late departure doubles the wait of the next one, up to a limit, and
one in time halves it; after a pause broadcasts are quick again.
"""

from __future__ import annotations

import math

import attrs


@attrs.define(eq=False, repr=False)
class BatchingWindow:
    """The next departure of this node's broadcasts. ``least`` and ``most`` bound the wait (seconds)."""

    least: float
    most: float
    _wait: float = attrs.field(init=False)  # how long the next departure waits
    _is_pending: bool = False
    _send_at: float = -math.inf  # when it leaves, or the last one left

    def __attrs_post_init__(self) -> None:
        self._wait = self.least

    def send_at(self, now: float) -> float:
        """When to send what is broadcast at ``now`` (seconds); it may be past, if nothing that was due was sent."""
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
