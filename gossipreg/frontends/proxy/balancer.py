"""The balancer: chooses an instance for each connection, by weight or load, recent failures and zone.

Pure: ``now`` (seconds on any steady clock) and the rng are passed in.

The rule. Of the instances with a weight that have not been tried for this connection and have room, those come first
that do not rest after a failure, then those whose owner is not suspected, then those of the balancer's own zone. Each
of these is a preference: when nothing better is left, the rest is used, so failures alone never leave a caller without
an instance.
Among the best, one of three rules chooses (`Balance`):

* Round robin, smooth and by weight, as in nginx: of any N connections in a row an instance gets its share but for one,
  however long they take. An instance that holds far more open connections for its weight than the others is passed
  over.
* Least connections for its weight, with the one that is to be made: few where connections take long. Of short ones an
  instance of little weight gets none.
* Of two drawn by weight, the one with fewer connections for its weight.

Or, where callers stick, each goes to the instance that its address belongs to, by weight (rendezvous hashing). While
that instance is gone, the caller goes to its next one.

A new instance can warm up: its share then grows from nothing to its own. It takes part in that fraction of the choices,
drawn at random. Where callers stick, that fraction of its weight counts, so that they move to it one by one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from random import Random
from types import MappingProxyType

import attrs

from gossipreg.frontends.proxy.backend import Backend, Key, key_of
from gossipreg.frontends.proxy.limits import JOIN_SECONDS, OVERLOAD_MIN, OVERLOAD_TIMES
from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import claim


class Balance(StrEnum):
    """How one of the best instances is chosen. The names are HAProxy's and nginx's."""

    ROUND_ROBIN = "round-robin"
    LEAST_CONNECTIONS = "least-connections"
    RANDOM_TWO = "random-two"


@attrs.define(eq=False, repr=False)
class Balancer:
    """The instances of one service, from which one is chosen for each connection."""

    rng: Random
    zone: str | None = None
    balance: Balance = Balance.ROUND_ROBIN
    connections_max: int = 0  # to one instance; 0 is no limit
    panic: bool = False  # when there is no instance, keep the last ones
    slow_start: float = 0.0  # seconds in which the share of a new instance grows
    in_panic: bool = False
    _began: float = -math.inf  # when the first instance came after there had been none
    _backends: dict[Key, Backend] = attrs.field(factory=dict)
    _drained: dict[Key, Backend] = attrs.field(factory=dict)  # those that are gone and have connections

    @property
    def backends(self) -> Mapping[Key, Backend]:
        """All instances, those with weight 0 included."""
        return MappingProxyType(self._backends)

    def replace(
        self,
        instances: Iterable[Instance],
        suspects: Collection[str] = (),
        now: float = -math.inf,
        never: Collection[Key] = (),
    ) -> list[Key]:
        """These are the instances now; ``suspects`` are the members that may be failing. Returns those that are gone.

        In panic the last instances are used, but not those in ``never``. An instance that stays, or comes back while it
        has connections, keeps its connections and its failures. One that is added when there was none, or shortly after
        that, is not new: the balancer has only just learned of it, or it must take all connections in any case.
        """
        wanted = {key_of(instance): instance for instance in instances if instance.is_callable}
        kept = {key for key in self._backends if key not in never} if self.panic and not wanted else set()
        self.in_panic = bool(kept)
        gone = [key for key in self._backends if key not in wanted and key not in kept]
        self._drained = {key: backend for key, backend in self._drained.items() if backend.in_flight}
        for key in gone:
            self._drained[key] = self._backends.pop(key)
        if not self._backends:
            self._began = now
        new_at = now if now - self._began > JOIN_SECONDS else -math.inf
        for key, instance in wanted.items():
            if key not in self._backends:
                backend = self._drained.pop(key, None) or Backend(instance)
                backend.new_at = new_at
                self._backends[key] = backend
            backend = self._backends[key]
            backend.instance = instance
            backend.deprioritized = instance.owner in suspects
        return gone

    def choose(self, tried: Collection[Key], now: float, source: str | None = None) -> Backend | None:
        """The instance for a new connection, not one of those ``tried``; None when there is none with room.

        With a ``source``, the instance that it belongs to. The caller calls `Backend.chosen`, and `ended` in the end.
        """
        best: list[Backend] = []
        first: tuple[bool, bool, bool, bool] | None = None
        for key, backend in self._backends.items():
            if not backend.instance.weight or key in tried or self._is_full(backend):
                continue
            abroad = self.zone is not None and backend.instance.zone != self.zone
            held = self.slow_start > 0 and source is None and self._holds_back(backend, now)
            rank = (backend.is_resting(now), backend.deprioritized, held, abroad)
            if first is None or rank < first:
                first, best = rank, [backend]
            elif rank == first:
                best.append(backend)
        if len(best) < 2:
            return best[0] if best else None
        if source is not None:
            return max(best, key=lambda each: claim(each.instance, source, self._weight(each, now)))
        match self.balance:
            case Balance.ROUND_ROBIN:
                return self._next_in_turn(_without_overloaded(best))
            case Balance.LEAST_CONNECTIONS:
                return self._drawn(_least(best))
            case Balance.RANDOM_TWO:
                one = self._drawn(best)
                other = self._drawn([each for each in best if each is not one])
                return min(one, other, key=lambda each: each.in_flight / each.instance.weight)

    def _next_in_turn(self, backends: Sequence[Backend]) -> Backend:
        """Smooth weighted round robin: each gets credit for its weight, and the one with most credit pays for all."""
        total = float(sum(backend.instance.weight for backend in backends))
        for backend in backends:
            if backend.credit is None:  # at random: balancers must not all begin with the same instance
                backend.credit = (self.rng.random() - 0.5) * total
            # Credit of times with other instances or other weights is worth one turn at most.
            backend.credit = max(-total, min(total, backend.credit)) + backend.instance.weight
        chosen = max(backends, key=lambda each: each.credit or 0.0)
        assert chosen.credit is not None, "each has credit by now"
        chosen.credit -= total
        return chosen

    def _drawn(self, backends: Sequence[Backend]) -> Backend:
        """One of them, drawn by weight."""
        if len(backends) == 1:
            return backends[0]
        return self.rng.choices(backends, [each.instance.weight for each in backends])[0]

    def _weight(self, backend: Backend, now: float) -> float:
        return backend.instance.weight * backend.warmth(now, self.slow_start)

    def _holds_back(self, backend: Backend, now: float) -> bool:
        """Whether an instance that warms up takes no part in a choice."""
        warmth = backend.warmth(now, self.slow_start)
        return warmth < 1 and self.rng.random() >= warmth

    def _is_full(self, backend: Backend) -> bool:
        return 0 < self.connections_max <= backend.in_flight


def _without_overloaded(backends: Sequence[Backend]) -> Sequence[Backend]:
    """Those that hold no more connections than is plausible beside the others; all if there are none.

    An instance that accepts connections and does not end them would otherwise collect ever more of them.
    """
    weights = sum(backend.instance.weight for backend in backends)
    connections = sum(backend.in_flight for backend in backends)
    if connections < OVERLOAD_MIN:
        return backends
    return [each for each in backends if not _is_overloaded(each, connections, weights)] or backends


def _is_overloaded(backend: Backend, connections: int, weights: int) -> bool:
    """Whether it has far more connections for its weight than the others have, of so many ``connections`` in all.

    It must have too many beside the others, and they too few beside it: one or two connections of an instance of
    little weight, or none of it, say nothing.
    """
    weight = backend.instance.weight
    others, rest = connections - backend.in_flight, weights - weight
    has_too_many = backend.in_flight >= OVERLOAD_MIN + OVERLOAD_TIMES * others * weight / rest
    others_too_few = backend.in_flight * rest / weight >= OVERLOAD_MIN + OVERLOAD_TIMES * others
    return has_too_many and others_too_few


def _least(backends: Sequence[Backend]) -> Sequence[Backend]:
    """The least loaded of them."""
    least = min(backend.load for backend in backends)
    return [backend for backend in backends if backend.load == least]
