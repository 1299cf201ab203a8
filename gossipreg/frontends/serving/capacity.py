"""Capacity: how many clients an HTTP listener has room for, and which of them give way when there is none.

Theory of operation. No client may keep others out by taking what it does not use. When all connections are taken, one
gives way to the newcomer: the one from which a request has been awaited for longest, among those of the source that
holds most. Event streams, which are long-lived, are taken from the source that holds most of them, as long as it holds
more than the newcomer's. Blocking reads beyond the limit are held briefly, so that their clients poll. Long answers are
shared by all clients that take the same one; beyond a number of bytes the slowest client gives way.

A source is an IPv4 address, an IPv6 network of 64 bits, or everything local that has no address.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Self

import attrs

from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import HttpError

#: Descriptors that a listener with full capacity needs, with everything else of an agent.
DESCRIPTORS: Final = (
    limits.CONNECTIONS_MAX + limits.WAITING_TO_BE_SERVED_MAX + limits.REFUSALS_MAX + limits.OTHER_DESCRIPTORS
)

#: Of so many such descriptors, one is for a connection that waits.
_WAITING_TO_BE_SERVED_SHARE: Final = (
    limits.CONNECTIONS_MAX + limits.WAITING_TO_BE_SERVED_MAX
) // limits.WAITING_TO_BE_SERVED_MAX

#: Descriptors for connections that are served or wait for it, where a process may have hardly any.
_LEAST: Final = limits.CONNECTIONS_MIN + limits.WAITING_TO_BE_SERVED_MIN


@attrs.define(eq=False, repr=False)
class Capacity:
    """Room for connections, and among them for event streams, blocking reads and long answers."""

    connections: Connections
    event_streams: EventStreams
    waiting: BlockingReads
    waiting_to_be_served: int = limits.WAITING_TO_BE_SERVED_MAX
    outgoing: UnsentResponses = attrs.field(factory=lambda: UnsentResponses(limits.UNSENT_BYTES_MAX))
    bulk_bodies: int = 0  # bodies of bulk registrations that are held now

    @classmethod
    def within(cls, descriptors: int) -> Self:
        """As much as ``descriptors`` suffice for, and no more than the limits: all shrink by the same share."""
        left = max(descriptors - limits.OTHER_DESCRIPTORS - limits.REFUSALS_MAX, _LEAST)
        waiting = min(
            limits.WAITING_TO_BE_SERVED_MAX, max(limits.WAITING_TO_BE_SERVED_MIN, left // _WAITING_TO_BE_SERVED_SHARE)
        )
        share = min(1.0, (left - waiting) / limits.CONNECTIONS_MAX)
        return cls(
            Connections(int(limits.CONNECTIONS_MAX * share)),
            EventStreams(int(limits.EVENT_STREAMS_MAX * share)),
            BlockingReads(int(limits.WAITING_MAX * share)),
            waiting_to_be_served=waiting,
        )

    @classmethod
    def now(cls) -> Self:
        """What the process's soft limit of descriptors gives."""
        return cls.within(soft_limit())


@attrs.define(eq=False, repr=False)
class ConnectionSlot:
    """One connection's place. ``give_way`` ends the connection; it must return at once."""

    source: str
    give_way: Callable[[], None]

    def free(self) -> None:
        """Let go of the connection, which is over: else the two would hold each other until a collection of garbage."""
        self.give_way = _nothing


def _nothing() -> None:
    """The connection is over: there is nothing to end."""


@attrs.define(eq=False, repr=False)
class Connections:
    """Every connection that is open, and those from which a request is awaited, longest first."""

    most: int
    _slots: dict[ConnectionSlot, None] = attrs.field(init=False, factory=dict)
    _by_source: dict[str, int] = attrs.field(init=False, factory=dict)
    _idle: dict[ConnectionSlot, None] = attrs.field(init=False, factory=dict)

    def take(self, slot: ConnectionSlot) -> bool:
        """Seat a new connection, in place of another if none is free; False where there is no room for it."""
        if len(self._slots) >= self.most and not self._make_room(slot.source):
            return False
        self._slots[slot] = None
        self._by_source[slot.source] = self._by_source.get(slot.source, 0) + 1
        return True

    def _make_room(self, source: str) -> bool:
        richest = max(self._by_source, key=lambda each: self._by_source[each])
        victim = next((slot for slot in self._idle if slot.source == richest), None)
        if victim is None and source != richest:
            victim = next(iter(self._idle), None)
        if victim is None:
            return False
        self.leave(victim)
        victim.give_way()
        return True

    def leave(self, slot: ConnectionSlot) -> None:
        """A connection is over, or is about to be."""
        self._idle.pop(slot, None)
        if slot in self._slots:
            del self._slots[slot]
            self._by_source[slot.source] -= 1
            if not self._by_source[slot.source]:
                del self._by_source[slot.source]

    def awaits(self, slot: ConnectionSlot) -> None:
        """A request of this connection is awaited from now on."""
        if slot in self._slots:
            self._idle[slot] = None

    def has_request(self, slot: ConnectionSlot) -> None:
        """A request of this connection is here."""
        self._idle.pop(slot, None)


@attrs.define(eq=False, repr=False)
class EventStreams:
    """Places for event streams, by source."""

    most: int
    _held: dict[str, dict[ConnectionSlot, None]] = attrs.field(init=False, factory=dict)
    _taken: int = attrs.field(init=False, default=0)

    @contextmanager
    def one(self, slot: ConnectionSlot) -> Iterator[None]:
        """Take a place for the length of a ``with`` block. Raises a 503 ``HttpError`` if this source gets none."""
        if self._taken >= self.most:
            self._make_room(slot.source)
        self._held.setdefault(slot.source, {})[slot] = None
        self._taken += 1
        try:
            yield
        finally:
            self._leave(slot)

    def _make_room(self, source: str) -> None:
        richest = max(self._held, key=lambda each: len(self._held[each]), default=source)
        if len(self._held.get(richest, ())) <= len(self._held.get(source, ())) + 1:
            raise HttpError(503, f"{self.most} event streams are open, which is the limit")
        victim = next(iter(self._held[richest]))
        self._leave(victim)
        victim.give_way()

    def _leave(self, slot: ConnectionSlot) -> None:
        held = self._held.get(slot.source, {})
        if slot in held:
            del held[slot]
            self._taken -= 1
            if not held:
                del self._held[slot.source]


@attrs.define(eq=False, repr=False)
class BlockingReads:
    """Places for blocking reads that wait as long as they ask to; any number may wait for a short time."""

    most: int
    _taken: int = attrs.field(init=False, default=0)

    @property
    def has_room(self) -> bool:
        """Whether the next one may wait for long."""
        return self._taken < self.most

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one for the length of a ``with`` block."""
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


@attrs.define(eq=False, repr=False)
class UnsentResponses:
    """Long answers on their way, and the clients that take them. What several take at once is counted once.

    An answer is of one or more parts, and two answers may share some.
    """

    most: int  # bytes
    _taking: dict[ConnectionSlot, tuple[bytes, ...]] = attrs.field(
        init=False, factory=dict
    )  # in the order in which they began
    _takers: dict[int, int] = attrs.field(init=False, factory=dict)  # id of a part -> how many take it
    _bytes: int = attrs.field(init=False, default=0)

    @contextmanager
    def one(self, slot: ConnectionSlot, *parts: bytes) -> Iterator[None]:
        """Count ``parts`` for the length of a ``with`` block; clients that have taken longer give way if needed."""
        self._taking[slot] = parts
        for part in parts:
            self._takers[id(part)] = self._takers.get(id(part), 0) + 1
            if self._takers[id(part)] == 1:
                self._bytes += len(part)
        while self._bytes > self.most and (slowest := next(iter(self._taking))) is not slot:
            self._end(slowest)
            slowest.give_way()
        try:
            yield
        finally:
            self._end(slot)

    def _end(self, slot: ConnectionSlot) -> None:
        for part in self._taking.pop(slot, ()):
            self._takers[id(part)] -= 1
            if not self._takers[id(part)]:
                del self._takers[id(part)]
                self._bytes -= len(part)


def soft_limit() -> int:
    """How many descriptors the process may have open now."""
    return _finite(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def ask_for_descriptors() -> int:
    """Raise the process's soft limit to what a listener with full capacity needs, as far as the hard limit allows.

    No further: what starts other programs may close all descriptors that there could be. Returns what it is now.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _finite(soft) < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(DESCRIPTORS, _finite(hard)), hard))
    return soft_limit()


def _finite(limit: int) -> int:
    return 2**31 if limit == resource.RLIM_INFINITY else limit
