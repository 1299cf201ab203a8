"""Hedging: a second request to another instance when the first is slow, and the budget that bounds how often.

After "The Tail at Scale" (Dean and Barroso, 2013): a second request that is sent once the first has taken longer than
the 95th percentile cuts the slowest answers for a few percent more load. The budget keeps the load at that when a whole
service is slow; without it, hedging would double the load.
"""

from __future__ import annotations

import math
import threading
from collections import defaultdict, deque
from typing import Final

import attrs

from gossipreg.errors import ConfigError
from gossipreg.values import frozen

#: Answers whose times are kept for each service: enough for a 95th percentile, few enough to follow a change.
TIMES_MAX: Final = 128

#: Answers before which the 95th percentile is not known, and no second request is sent.
TIMES_MIN: Final = 20

#: Second requests that may follow one another at once, however few calls came before them.
BURST_MAX: Final = 10.0


def _check_after(_: object, attribute: attrs.Attribute[float | None], value: float | None) -> None:
    if value is not None and not 0 <= value < math.inf:
        raise ConfigError(f"{attribute.name}: {value!r} is not a time in seconds, 0 or longer")


def _check_share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 < value <= 1:
        raise ConfigError(f"{attribute.name}: {value!r} is not a share above 0, up to 1")


@frozen
class Hedging:
    """When a call is also sent to a second instance. Only calls that may be sent twice are.

    ``after`` is how long the first instance may take until its answer begins (seconds); None: the 95th percentile of
    the last answers of the service in this process. ``share`` bounds how many of the calls may have a second request
    (0 to 1). Raises ``ConfigError``.
    """

    after: float | None = attrs.field(default=None, validator=_check_after)
    share: float = attrs.field(default=0.05, validator=_check_share)


@attrs.define(eq=False, repr=False)
class HedgeBudget:
    """What is left to spend on second requests, and how long the answers of each service took. Any thread may use it.

    Each call earns its share of a second request; at most `BURST_MAX` are saved.
    """

    hedging: Hedging
    _left: float = attrs.field(init=False, default=1.0)
    _times: dict[str, deque[float]] = attrs.field(
        init=False, factory=lambda: defaultdict(lambda: deque(maxlen=TIMES_MAX))
    )
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def begin(self, service: str) -> float | None:
        """Record a call that may be sent twice. Returns after how long (seconds) that is due; None: not this time."""
        with self._lock:
            self._left = min(BURST_MAX, self._left + self.hedging.share)
            if self.hedging.after is not None:
                return self.hedging.after
            times = sorted(self._times.get(service, ()))
            return times[math.ceil(0.95 * len(times)) - 1] if len(times) >= TIMES_MIN else None

    def spend(self) -> bool:
        """Return whether a second request may be sent now, and record that it is."""
        with self._lock:
            if self._left < 1 - 1e-9:  # ten tenths come to a little less than one
                return False
            self._left -= 1
            return True

    def observe(self, service: str, seconds: float) -> None:
        """Record how long an instance of ``service`` took until its answer began (seconds)."""
        with self._lock:
            self._times[service].append(seconds)
