"""Knows which instance a connection goes to: by load and weight, by what failed lately, and by where it is.

Pure: ``now`` (seconds on any steady clock) and the dice are passed in.

The rule. Of the instances with a weight that have not been tried for this connection and have room, those come first
that do not rest after a failure, then those whose owner nobody suspects, then those of our own zone. Each of these is
a preference: when nothing better is left, the rest is used, so no set of failures ever shuts out everybody. Among the
best, the least loaded is taken: the fewest connections for its weight. Equals are drawn by weight, so that the weights
are the odds also where connections are so short that nobody ever has two.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from random import Random
from types import MappingProxyType

import attrs

from gossipreg.doors.proxy.limits import FORGET_SECONDS, REST_SECONDS, REST_SECONDS_MAX, TRIAL_SECONDS
from gossipreg.model import Instance

#: What makes an instance the same one, as far as its connections go. At another address it is another.
Key = tuple[str, str, str, int]


def key_of(instance: Instance) -> Key:
    """The instance's key."""
    return instance.owner, instance.id, instance.host, instance.port


@attrs.define(eq=False)
class Backend:
    """One instance as the balancer knows it."""

    instance: Instance
    doubtful: bool = False  # its owner is suspected by the cluster
    in_flight: int = 0  # connections to it, those being made included
    _failures: float = 0.0  # how many, those long ago counting less
    _failed_at: float = -math.inf
    _rests_until: float = -math.inf

    @property
    def load(self) -> float:
        """Connections for its weight, which is not 0."""
        return self.in_flight / self.instance.weight

    def is_resting(self, now: float) -> bool:
        """Whether it failed a moment ago."""
        return now < self._rests_until

    def chosen(self, now: float) -> None:
        """A connection is made to it. After a failure, others keep off until this one has told how it went."""
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


@attrs.define(eq=False)
class Balancer:
    """The instances of one service, and whose turn it is."""

    dice: Random
    zone: str | None = None
    connections_max: int = 0  # to one instance; 0 is no limit
    panic: bool = False  # when there is no instance, keep the last ones
    in_panic: bool = False
    _backends: dict[Key, Backend] = attrs.field(factory=dict)

    @property
    def backends(self) -> Mapping[Key, Backend]:
        """All instances, those with weight 0 included."""
        return MappingProxyType(self._backends)

    def replace(self, instances: Iterable[Instance], suspects: Collection[str] = ()) -> list[Key]:
        """These are the instances now; ``suspects`` are the members that may be failing. Returns those that are gone.

        Who stays keeps its connections and its failures.
        """
        wanted = {key_of(instance): instance for instance in instances}
        self.in_panic = self.panic and not wanted and bool(self._backends)
        if self.in_panic:
            return []
        gone = [key for key in self._backends if key not in wanted]
        for key in gone:
            del self._backends[key]
        for key, instance in wanted.items():
            backend = self._backends.setdefault(key, Backend(instance))
            backend.instance = instance
            backend.doubtful = instance.owner in suspects
        return gone

    def choose(self, tried: Collection[Key], now: float) -> Backend | None:
        """The instance for a new connection, not one of those ``tried``; None when there is none with room.

        The caller says `Backend.chosen` of it, and `ended` in the end.
        """
        best: list[Backend] = []
        first: tuple[bool, bool, bool, float] | None = None
        for key, backend in self._backends.items():
            if not backend.instance.weight or key in tried or self._is_full(backend):
                continue
            abroad = self.zone is not None and backend.instance.zone != self.zone
            rank = (backend.is_resting(now), backend.doubtful, abroad, backend.load)
            if first is None or rank < first:
                first, best = rank, [backend]
            elif rank == first:
                best.append(backend)
        if len(best) < 2:
            return best[0] if best else None
        return self.dice.choices(best, [backend.instance.weight for backend in best])[0]

    def _is_full(self, backend: Backend) -> bool:
        return 0 < self.connections_max <= backend.in_flight
