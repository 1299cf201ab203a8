"""Chooser: which instance the next call goes to, given the outcome of earlier calls.

A `Chooser` reads any kind of node, and is all that a client library needs: `gossipreg.embed.httpx` uses it. What it
learns stays in this process: a call that failed here says little about other callers, and the cluster detects failed
members by itself.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol, cast, get_args

import attrs

from gossipreg.errors import ConfigError, NodeClosed, NoInstance
from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import (
    Key,
    RoundRobin,
    RoundTrip,
    Strategy,
    key_of,
    select,
)

__all__ = ["AVOID_SECONDS", "AVOID_SECONDS_MAX", "Chooser", "LookupSource", "Strategy"]

#: How long an instance is avoided after one failure; doubles with each further one (seconds).
AVOID_SECONDS: Final = 1.0

#: The longest that it is avoided, however often it fails (seconds).
AVOID_SECONDS_MAX: Final = 30.0


class LookupSource(Protocol):
    """A source of instances: a node of any kind."""

    def lookup(
        self,
        service: str,
        *,
        healthy: bool = True,
        tag: str | None = None,
        zone: str | None = None,
        role: str | None = None,
        panic: float | None = None,
        last_known: bool = False,
    ) -> tuple[Instance, ...]:
        """The instances of ``service`` that can serve; below the share ``panic`` of reachable ones, lost ones too.

        With ``last_known`` also those that a closed node knew, marked stale.
        """


class FailoverSource(LookupSource, Protocol):
    """A source that knows other regions, too."""

    def with_failover(
        self,
        service: str,
        failover: Sequence[str],
        *,
        threshold: float = 0.0,
        tag: str | None = None,
        role: str | None = None,
    ) -> tuple[Instance, ...]:
        """The instances of ``service`` that can serve here, or in the first of the regions that can."""


def _check_strategy(_: object, attribute: attrs.Attribute[Strategy], value: str) -> None:
    if value not in get_args(Strategy):
        raise ConfigError(f"{attribute.name}: {value!r} is none of {', '.join(get_args(Strategy))}")


def _text_tuple(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(texts)


def _check_share(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"{attribute.name}: {value!r} is not a share from 0 to 1")


@attrs.define(eq=False, repr=False)
class _Failures:
    """How often in a row calls to an instance failed, and until when it is avoided (seconds on the chooser's clock)."""

    in_a_row: int = 0
    until: float = 0.0

    def add(self, now: float) -> None:
        if now >= self.until or not self.in_a_row:  # concurrent calls fail together, and count once
            self.in_a_row += 1
            self.until = now + self._length()

    def is_over(self, now: float) -> bool:
        """Whether it has been tried again for as long as it was avoided: the next failure is a first one."""
        return now >= self.until + self._length()

    def _length(self) -> float:
        return float(min(AVOID_SECONDS_MAX, AVOID_SECONDS * 2 ** min(self.in_a_row - 1, 16)))


@attrs.define(eq=False, repr=False)
class Chooser:
    """Chooses instances for calls, and takes their outcomes. Any thread may use it.

    ``strategy`` is ``random`` (by weight), ``round-robin`` (by weight, in turn) or ``least-loaded`` (of two drawn by
    weight, the one with fewer calls of this process in progress for its weight); a call with a ``key`` goes to the
    instance that the key belongs to, whatever the strategy. With a ``zone``, instances elsewhere are chosen only when
    it has none; ``round_trip`` then tells which other zone is nearest. All ways honour weights; drained instances
    (weight 0) are called only when a service has no others.

    An instance whose call failed is avoided for a second, then for two, four … up to half a minute as long as it goes
    on failing. If that would leave no instance, none is avoided.

    With ``panic``, a share from 0 to 1, those that were lost when many owners failed at once are chosen, too, while
    fewer than that share can be reached; 0: never.

    With ``failover``, a list of regions as in `Node.with_failover`, the instances of another region are chosen while
    this one cannot serve: while it has none that can take work, or a smaller share than ``failover_threshold`` of those
    that should. ``panic`` cannot be had with it.

    With ``last_known`` it still chooses after the node has closed, among the instances that the node knew, marked
    stale: for a program that completes its last requests. Otherwise a closed node's ``NodeClosed`` is raised.
    """

    registry: LookupSource
    strategy: Strategy = attrs.field(default="random", validator=_check_strategy, kw_only=True)
    zone: str = attrs.field(default="", kw_only=True)
    round_trip: RoundTrip | None = attrs.field(default=None, kw_only=True)
    panic: float = attrs.field(default=0.0, validator=_check_share, kw_only=True)
    failover: tuple[str, ...] = attrs.field(default=(), converter=_text_tuple, kw_only=True)
    failover_threshold: float = attrs.field(default=0.0, validator=_check_share, kw_only=True)
    last_known: bool = attrs.field(default=False, kw_only=True)
    clock: Callable[[], float] = attrs.field(default=time.monotonic, kw_only=True)  # seconds, steady
    rng: random.Random = attrs.field(factory=random.Random, kw_only=True)
    _turns: dict[tuple[str | None, ...], RoundRobin] = attrs.field(init=False, factory=dict)
    _under_way: dict[Key, int] = attrs.field(init=False, factory=dict)
    _failures: dict[Key, _Failures] = attrs.field(init=False, factory=dict)
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        if self.failover and self.panic:
            raise ConfigError("panic: cannot be had with failover: leave out one of them")

    def lookup(self, service: str, *, tag: str | None = None, role: str | None = None) -> tuple[Instance, ...]:
        """The instances among which a call is made now, those that have failed included."""
        if self.failover:
            try:
                return cast("FailoverSource", self.registry).with_failover(
                    service, self.failover, threshold=self.failover_threshold, tag=tag, role=role
                )
            except NodeClosed:
                if not self.last_known:
                    raise
        return self.registry.lookup(service, tag=tag, role=role, panic=self.panic, last_known=self.last_known)

    def choose(
        self,
        service: str,
        *,
        key: str | None = None,
        tag: str | None = None,
        role: str | None = None,
        excluding: Collection[Instance] = (),
    ) -> Instance:
        """The instance to call now, never one of ``excluding``. Raises ``NoInstance``."""
        there = self.lookup(service, tag=tag, role=role)
        if not all(instance.port for instance in there):
            there = tuple(instance for instance in there if instance.is_callable)
        if excluding:
            tried = {key_of(instance) for instance in excluding}
            there = tuple(instance for instance in there if key_of(instance) not in tried)
        with self._lock:
            chosen = self._choose((service, tag, role), self._not_avoided(there), key, again=bool(excluding))
        if chosen is None:
            raise NoInstance(f"no {'other ' if excluding else ''}instance of {service!r} can be called now")
        return chosen

    @contextmanager
    def calling(
        self,
        service: str,
        *,
        key: str | None = None,
        tag: str | None = None,
        role: str | None = None,
        excluding: Collection[Instance] = (),
    ) -> Iterator[Instance]:
        """`choose`, for the length of a block: an ``OSError`` or ``TimeoutError`` out of it is a failed call."""
        instance = self.choose(service, key=key, tag=tag, role=role, excluding=excluding)
        self.begin(instance)
        try:
            yield instance
        except OSError:  # of which TimeoutError is one
            self.report_failure(instance)
            raise
        else:
            self.report_success(instance)
        finally:
            self.end(instance)

    def begin(self, instance: Instance) -> None:
        """Record that a call to ``instance`` is in progress, until `end`."""
        with self._lock:
            self._under_way[key_of(instance)] = self._under_way.get(key_of(instance), 0) + 1

    def end(self, instance: Instance) -> None:
        """Record that a call to ``instance`` that was begun has ended."""
        with self._lock:
            left = self._under_way.pop(key_of(instance), 0) - 1
            if left > 0:
                self._under_way[key_of(instance)] = left

    def report_failure(self, instance: Instance) -> None:
        """Avoid ``instance`` for a while: a call failed in a way that another instance might not."""
        now = self.clock()
        with self._lock:
            self._failures = {each: past for each, past in self._failures.items() if not past.is_over(now)}
            self._failures.setdefault(key_of(instance), _Failures()).add(now)

    def report_success(self, instance: Instance) -> None:
        """Avoid ``instance`` no longer: a call to it succeeded."""
        with self._lock:
            self._failures.pop(key_of(instance), None)

    def _not_avoided(self, instances: Sequence[Instance]) -> Sequence[Instance]:
        """The instances that are not avoided now; all of them if only drained ones, or none, would be left."""
        if not self._failures:
            return instances
        now = self.clock()
        avoided = {each for each, failures in self._failures.items() if now < failures.until}
        left = [instance for instance in instances if key_of(instance) not in avoided]
        return left if any(instance.weight for instance in left) else instances

    def _choose(
        self, asked: tuple[str | None, ...], instances: Sequence[Instance], key: str | None, *, again: bool
    ) -> Instance | None:
        turns = None
        if self.strategy == "round-robin" and not again:  # a retry takes no turn, or turns would shift
            turns = self._turns.setdefault(asked, RoundRobin())
        return select(
            instances,
            self.strategy,
            self.rng,
            zone=self.zone,
            round_trip=self.round_trip,
            key=key,
            turns=turns,
            load=lambda each: self._under_way.get(key_of(each), 0),
        )
