"""Rates: the agent's activity in each interval of the last 15 minutes, for small charts."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import trio

from gossipreg.counters import Count
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.median import median

#: What is counted in each interval, by the name under which it is told.
_COUNTED: Final[Mapping[str, Count]] = {
    "packets_in": Count.PACKETS_RECEIVED,
    "packets_out": Count.PACKETS_SENT,
    "bytes_in": Count.BYTES_RECEIVED,
    "bytes_out": Count.BYTES_SENT,
}


@attrs.define(eq=False, repr=False)
class RateHistory:
    """The latest samples, one each `limits.RATE_SECONDS`. ``clock`` gives seconds since the epoch."""

    _clock: Callable[[], float] = time.time
    _samples: deque[Mapping[str, float | None]] = attrs.field(
        init=False, factory=lambda: deque(maxlen=limits.RATE_SAMPLES)
    )
    _before: Mapping[str, int] = attrs.field(init=False, factory=dict)  # the counters at the last sample
    _at: float = attrs.field(init=False, default=0.0)  # when that was

    async def follow(self, node: NodeApi, requests: Counter[tuple[str, str, int]]) -> None:
        """Take samples until this is cancelled. ``requests``: HTTP requests answered so far."""
        while True:
            self.sample(node, requests.total())
            await trio.sleep(limits.RATE_SECONDS)

    def sample(self, node: NodeApi, requests: int) -> None:
        """Take one sample: what was counted since the last, for each second."""
        now, counters = self._clock(), node.info().counters
        counted = {name: counters.get(str(count), 0) for name, count in _COUNTED.items()} | {"requests": requests}
        if self._before and now > self._at:
            took = now - self._at
            rates = {name: max(0.0, round((value - self._before[name]) / took, 2)) for name, value in counted.items()}
            self._samples.append({"at": round(now, 3), **rates, "round_trip": _median_round_trip(node)})
        self._before, self._at = counted, now

    @property
    def samples(self) -> tuple[Mapping[str, float | None], ...]:
        """The samples, the latest last."""
        return tuple(self._samples)


def _median_round_trip(node: NodeApi) -> float | None:
    """The median of the round trips to members (seconds); None if none was measured."""
    found = [node.round_trip(each.name) for each in node.members() if each.status.is_present]
    known = [each for each in found if each is not None]
    return round(median(known), 6) if known else None
