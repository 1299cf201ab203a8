"""Backend: one instance as the balancer knows it, with its connections and its recent failures."""

from __future__ import annotations

import math
from typing import Final

import attrs

from gossipreg.frontends.proxy.limits import FORGET_SECONDS, REST_SECONDS, REST_SECONDS_MAX, TRIAL_SECONDS
from gossipreg.model import Instance

#: What makes an instance the same one, as far as its connections go. At another address it is another.
Key = tuple[str, str, str, str, int]


def key_of(instance: Instance) -> Key:
    """The instance's key."""
    return instance.region, instance.owner, instance.id, instance.host, instance.port


#: The least share of its weight that a new instance has, so that it gets a first connection.
_COLD: Final = 0.001


@attrs.define(eq=False, repr=False)
class Backend:
    """One instance as the balancer knows it."""

    instance: Instance
    deprioritized: bool = False  # its owner is suspected by the cluster
    new_at: float = -math.inf  # when it was added, if others were there before
    in_flight: int = 0  # connections to it, those being made included
    credit: float | None = None  # what it has not been given of its weight in the turns so far; None: it had no turn
    _failures: float = 0.0  # how many, those long ago counting less
    _failed_at: float = -math.inf
    _rests_until: float = -math.inf

    @property
    def load(self) -> float:
        """Connections for its weight, which is not 0, with the one that it would be given."""
        return (self.in_flight + 1) / self.instance.weight

    def warmth(self, now: float, slow_start: float) -> float:
        """How much of its share it has by now, above 0: all of it ``slow_start`` seconds after it came."""
        return min(1.0, max(_COLD, (now - self.new_at) / slow_start)) if slow_start else 1.0

    def is_resting(self, now: float) -> bool:
        """Whether it failed a moment ago."""
        return now < self._rests_until

    def chosen(self, now: float) -> None:
        """A connection is made to it. After a failure, no other is made until this one has succeeded or failed."""
        self.in_flight += 1
        if self._failures and not self.is_resting(now):
            self._rests_until = now + TRIAL_SECONDS

    def ended(self) -> None:
        """A connection to it is over, or never came about."""
        assert self.in_flight > 0, "more connections ended than began"
        self.in_flight -= 1

    def answered(self) -> None:
        """It accepted a connection: what was before is forgotten."""
        self._failures = 0.0
        self._rests_until = -math.inf

    def failed(self, began: float, now: float) -> None:
        """A connect that ``began`` then has failed. What began before the last failure is no news of its own."""
        if began <= self._failed_at:
            return
        self._failures = 1 + self._failures * 0.5 ** ((now - self._failed_at) / FORGET_SECONDS)
        self._failed_at = now
        self._rests_until = now + min(REST_SECONDS_MAX, REST_SECONDS * 2 ** (self._failures - 1))
