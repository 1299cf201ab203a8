"""The balancer: chooses an instance for each connection, by load and weight, recent failures and zone.

Pure: ``now`` (seconds on any steady clock) and the rng are passed in.

The rule. Of the instances with a weight that have not been tried for this connection and have room, those come first
that do not rest after a failure, then those whose owner is not suspected, then those of the balancer's own zone. Each
of these is a preference: when nothing better is left, the rest is used, so no set of failures ever leaves no instance.
Among the best, the least loaded is taken: the fewest connections for its weight. Equals are drawn by weight, so that
the weights are the odds also where connections are so short that no instance ever has two.

Or, where callers stick, each goes to the instance that its address belongs to, by weight (rendezvous hashing). While
that instance is gone, the caller goes to its next one.

A new instance warms up, if that is wanted: its share grows from nothing to its own. It takes part in so many of the
choices, drawn at random; where callers stick, so much of its weight counts, so that they move to it one by one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from random import Random
from types import MappingProxyType

import attrs

from gossipreg.frontends.proxy.limits import FORGET_SECONDS, JOIN_SECONDS, REST_SECONDS, REST_SECONDS_MAX, TRIAL_SECONDS
from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import claim

#: What makes an instance the same one, as far as its connections go. At another address it is another.
Key = tuple[str, str, str, int]


def key_of(instance: Instance) -> Key:
    """The instance's key."""
    return instance.owner, instance.id, instance.host, instance.port


#: The least share of its weight that a new instance has, so that it gets a first connection.
_COLD = 0.001


@attrs.define(eq=False, repr=False)
class Backend:
    """One instance as the balancer knows it."""

    instance: Instance
    deprioritized: bool = False  # its owner is suspected by the cluster
    new_at: float = -math.inf  # when it was added, if others were there before
    in_flight: int = 0  # connections to it, those being made included
    _failures: float = 0.0  # how many, those long ago counting less
    _failed_at: float = -math.inf
    _rests_until: float = -math.inf

    @property
    def load(self) -> float:
        """Connections for its weight, which is not 0."""
        return self.in_flight / self.instance.weight

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


@attrs.define(eq=False, repr=False)
class Balancer:
    """The instances of one service, from which one is chosen for each connection."""

    rng: Random
    zone: str | None = None
    connections_max: int = 0  # to one instance; 0 is no limit
    panic: bool = False  # when there is no instance, keep the last ones
    slow_start: float = 0.0  # seconds in which the share of a new instance grows
    in_panic: bool = False
    _began: float = -math.inf  # when the first instance came after there had been none
    _backends: dict[Key, Backend] = attrs.field(factory=dict)

    @property
    def backends(self) -> Mapping[Key, Backend]:
        """All instances, those with weight 0 included."""
        return MappingProxyType(self._backends)

    def replace(
        self, instances: Iterable[Instance], suspects: Collection[str] = (), now: float = -math.inf
    ) -> list[Key]:
        """These are the instances now, of which those without a port are left out. Returns those that are gone.

        ``suspects`` are the members that may be failing.

        An instance that stays keeps its connections and its failures. One that is added when there was none, or shortly
        after that, is not new: the balancer has only just learned of it, or it must take all connections in any case.
        """
        wanted = {key_of(instance): instance for instance in instances if instance.is_callable}
        self.in_panic = self.panic and not wanted and bool(self._backends)
        if self.in_panic:
            return []
        gone = [key for key in self._backends if key not in wanted]
        for key in gone:
            del self._backends[key]
        if not self._backends:
            self._began = now
        new_at = now if now - self._began > JOIN_SECONDS else -math.inf
        for key, instance in wanted.items():
            backend = self._backends.setdefault(key, Backend(instance, new_at=new_at))
            backend.instance = instance
            backend.deprioritized = instance.owner in suspects
        return gone

    def choose(self, tried: Collection[Key], now: float, source: str | None = None) -> Backend | None:
        """The instance for a new connection, not one of those ``tried``; None when there is none with room.

        With a ``source``, the one that it belongs to. The caller says `Backend.chosen` of it, and `ended` in the end.
        """
        best: list[Backend] = []
        first: tuple[bool, bool, bool, bool, float] | None = None
        for key, backend in self._backends.items():
            if not backend.instance.weight or key in tried or self._is_full(backend):
                continue
            abroad = self.zone is not None and backend.instance.zone != self.zone
            held = self.slow_start > 0 and source is None and self._holds_back(backend, now)
            load = backend.load if source is None else 0.0
            rank = (backend.is_resting(now), backend.deprioritized, held, abroad, load)
            if first is None or rank < first:
                first, best = rank, [backend]
            elif rank == first:
                best.append(backend)
        if len(best) < 2:
            return best[0] if best else None
        if source is not None:
            return max(best, key=lambda each: claim(each.instance, source, self._weight(each, now)))
        return self.rng.choices(best, [backend.instance.weight for backend in best])[0]

    def _weight(self, backend: Backend, now: float) -> float:
        return backend.instance.weight * backend.warmth(now, self.slow_start)

    def _holds_back(self, backend: Backend, now: float) -> bool:
        """Whether an instance that warms up takes no part in a choice."""
        warmth = backend.warmth(now, self.slow_start)
        return warmth < 1 and self.rng.random() >= warmth

    def _is_full(self, backend: Backend) -> bool:
        return 0 < self.connections_max <= backend.in_flight
