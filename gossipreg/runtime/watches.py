"""Watches: each compares what it reported last with what is there now.

So there is no queue between the node and a watcher. A slow watcher skips what came and went in the meantime, and a
watcher that is dropped leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Final, Self

import attrs
import trio

from gossipreg.changes import InstanceDiff, member_transition
from gossipreg.errors import GossipregError
from gossipreg.events import CheckEvent, Event, MemberEvent, NodeEvent, ServiceChange, Snapshot
from gossipreg.model import Instance, Member
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.protocol.registry.view import View
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.diagnostics import PrimaryConflicts

#: A watch of other regions reads at least this often (seconds), because a region is followed only while it is read.
READ_AGAIN_SECONDS: Final = 60.0

#: The view of a service of which nothing was reported yet.
_NOTHING: Final = ServiceView(0)


@attrs.define(eq=False, repr=False)
class ServiceWatch:
    """One service's healthy instances over time: ``async for change in node.watch("orders")``.

    The first change is the snapshot. Ends when the node closes; raises what closed it, if that was an error.
    """

    service: str
    _view: View
    _change_log: ChangeLog
    _failure: Callable[[], GossipregError | None]
    _seen: ServiceView | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServiceChange:
        while True:
            if self._change_log.closed:
                raise self._failure() or StopAsyncIteration
            step = self._step()
            if step is not None:
                return step
            await self._change_log.wait_for(("service", self.service))

    def _step(self) -> ServiceChange | None:
        view = self._view.service(self.service)
        snapshot = self._seen is None
        if self._seen is view:
            return None
        diff = view.changes_since(self._seen or _NOTHING)
        self._seen = view
        if not (snapshot or diff):
            return None
        return ServiceChange(
            self.service, view.index, view.healthy, diff.added, diff.changed, diff.removed, snapshot=snapshot
        )


@attrs.define(eq=False, repr=False)
class EventWatch:
    """Members and instances over time, in batches: first a `Snapshot` alone, then what came, changed and went.

    With a ``service``, only its instances are reported; members, and whether this node is isolated, always are.
    Unless ``healthy``, it reports instances in any state of health. ``panic``: as in `Node.lookup`, for healthy ones.
    Ends when the node closes; raises what closed it, if that was an error.
    """

    service: str | None
    _view: View
    _member: Callable[[str], Member | None]
    _members: Callable[[], tuple[Member, ...]]
    _check: Callable[[str], CheckEvent | None]
    _flapping_now: Callable[[], Iterable[str]]
    _change_log: ChangeLog
    _node: Callable[[], NodeEvent]
    _failure: Callable[[], GossipregError | None]
    _position: int | None = None
    _isolated: bool = False  # as last reported
    _seen_members: dict[str, Member] = attrs.field(factory=dict)
    _seen: dict[str, ServiceView] = attrs.field(factory=dict)
    _flapping: dict[str, None] = attrs.field(factory=dict)  # checks that were last reported as flapping
    _panic: float = 0.0
    _healthy: bool = True
    _primary_conflicts: PrimaryConflicts = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._primary_conflicts = PrimaryConflicts(self._view)

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Do nothing: a watch holds no resources."""

    async def __anext__(self) -> tuple[Event, ...]:
        if self._position is None:
            return (self._snapshot(),)
        while True:
            if self._change_log.closed:
                raise self._failure() or StopAsyncIteration
            batch = self._catch_up(self._position)
            self._position = self._change_log.position
            if batch:
                return tuple(batch)
            await self._change_log.wait(self._position)

    def _snapshot(self) -> Snapshot:
        self._position = self._change_log.position
        members = self._members()
        self._seen_members = {member.name: member for member in members}
        self._seen = {name: view for name, view in self._view.services.items() if self._wants(name)}
        for name in self._seen:
            self._primary_conflicts.observe(
                name
            )  # conflicts of now are not reported: the snapshot shows them as fenced
        views = [self._seen[name] for name in sorted(self._seen)]
        shown = [view.reported(healthy=self._healthy, panic=self._panic) for view in views]
        return Snapshot(members, tuple(chain.from_iterable(shown)))

    def _wants(self, service: str) -> bool:
        return self.service is None or service == self.service

    def _catch_up(self, position: int) -> list[Event]:
        entries = self._change_log.since(position)
        if entries is None:
            services = dict.fromkeys([*self._seen, *self._view.services])
            members = dict.fromkeys([*self._seen_members, *(member.name for member in self._members())])
            checks = dict.fromkeys([*self._flapping, *self._flapping_now()])
        else:
            services = dict.fromkeys(name for kind, name in entries if kind == "service")
            members = dict.fromkeys(name for kind, name in entries if kind == "member")
            checks = dict.fromkeys(name for kind, name in entries if kind == "check")
        batch = [*self._node_events(), *(event for name in members for event in self._member_events(name))]
        for service in services:
            if self._wants(service):
                batch += self._instance_events(service)
                conflict = self._primary_conflicts.observe(service)
                batch += [] if conflict is None else [conflict]
        return batch + [event for name in checks for event in self._check_events(name)]

    def _node_events(self) -> list[Event]:
        """Whether this node is isolated, if that has changed since the last report; at first it was not."""
        event = self._node()
        before, self._isolated = self._isolated, event.kind == "isolated"
        return [event] if self._isolated is not before else []

    def _check_events(self, name: str) -> list[Event]:
        """Whether a check flaps, if that has changed since the last report."""
        flapped = name in self._flapping
        self._flapping.pop(name, None)
        event = self._check(name)
        if event is None or not self._wants(event.service):
            return []
        if event.kind == "flapping":
            self._flapping[name] = None
        return [event] if (event.kind == "flapping") is not flapped else []

    def _instance_events(self, service: str) -> list[Event]:
        before = self._seen.pop(service, _NOTHING)
        after = self._view.service(service)
        if after.rows.shown_count:
            self._seen[service] = after
        return after.changes_since(before, healthy=self._healthy, panic=self._panic).events()

    def _member_events(self, name: str) -> list[Event]:
        before = self._seen_members.pop(name, None)
        after = self._member(name)
        if after is not None:
            self._seen_members[name] = after
        kind = member_transition(before, after)
        told = after or before
        return [] if kind is None or told is None else [MemberEvent(kind, told)]


@attrs.define(eq=False, repr=False)
class RegionalWatch:
    """The healthy instances of a service over time, wherever ``read`` finds them: first a `Snapshot` without members.

    What is read may change when one of ``change_logs`` does, the node's own first. Ends when the node closes; raises
    what closed it, if that was an error.
    """

    _read: Callable[[], tuple[Instance, ...]]
    _change_logs: Sequence[ChangeLog]
    _failure: Callable[[], GossipregError | None]
    _read_again_seconds: float = READ_AGAIN_SECONDS
    _seen: tuple[Instance, ...] | None = None

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Do nothing: a watch holds no resources."""

    async def __anext__(self) -> tuple[Event, ...]:
        while True:
            if any(each.closed for each in self._change_logs):
                raise self._failure() or StopAsyncIteration
            positions = [each.position for each in self._change_logs]
            before, self._seen = self._seen, self._read()
            if before is None:
                return (Snapshot((), self._seen),)
            if events := InstanceDiff.between(before, self._seen).events():
                return tuple(events)
            with trio.move_on_after(self._read_again_seconds):
                await _wait_any(self._change_logs, positions)


async def _wait_any(change_logs: Sequence[ChangeLog], positions: Sequence[int]) -> None:
    """Return once one of ``change_logs`` is past its position."""

    async def wait(each: ChangeLog, position: int) -> None:
        await each.wait(position)
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for each, position in zip(change_logs, positions, strict=True):
            nursery.start_soon(wait, each, position)
