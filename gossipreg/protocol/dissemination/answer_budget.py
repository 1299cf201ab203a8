"""Answer budget: how many packets answer peers in a second, and how messages fill those packets."""

from __future__ import annotations

from collections.abc import Iterable

import attrs


@attrs.define(eq=False, repr=False)
class AnswerBudget:
    """A token bucket of packets: ``rate`` of them at once, and as many a second."""

    rate: float
    _left: float = attrs.field(init=False)
    _filled_at: float = 0.0  # when the tokens were last counted (seconds)

    def __attrs_post_init__(self) -> None:
        self._left = self.rate

    def left(self, now: float) -> int:
        """How many packets may be sent at ``now`` (seconds)."""
        self._left = min(self.rate, self._left + self.rate * max(0.0, now - self._filled_at))
        self._filled_at = now
        return int(self._left)

    def spend(self, packets: int) -> None:
        """Take ``packets``, at most as many as are left, out of the budget."""
        self._left -= packets


def fill_packets(messages: Iterable[bytes], room: int, count: int) -> tuple[list[list[bytes]], bool]:
    """Up to ``count`` packets of ``room`` bytes with ``messages`` in order, and whether all of them fit.

    ``messages`` is consumed only up to the first that does not fit, because making a message may be expensive.
    """
    packets: list[list[bytes]] = []
    left = 0
    for message in messages:
        if len(message) > left:
            if len(packets) == count:
                return packets, False
            packets.append([])
            left = room
        packets[-1].append(message)
        left -= len(message)
    return packets, True
