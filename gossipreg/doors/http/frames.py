"""Encoded events: each is made once for all watchers that are told of it."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from gossipreg.doors.http import limits, render
from gossipreg.doors.http.answers import encode
from gossipreg.doors.http.lookups import Rows
from gossipreg.doors.http.slices import Pace, SingleFlight
from gossipreg.model import Event, InstanceEvent, MemberEvent, Snapshot


def frame(event: Event) -> bytes:
    """One event as it goes over the wire."""
    name, data = render.event(event)
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), encode(data))


@attrs.frozen
class _Same:
    """A snapshot as a key: hashing thousands of instances costs more than comparing those that are the same."""

    snapshot: Snapshot

    def __hash__(self) -> int:
        return len(self.snapshot.instances)


@attrs.define(eq=False, repr=False)
class Frames:
    """The last events in their encoded form.

    Every watcher is told of the same instances and members, so what the first is told goes to the others as it is. Of
    snapshots, the last is kept: clients that come back all at once, after a restart of what led to them, want the same.
    """

    _bytes_max: int = limits.FRAME_CACHE_BYTES
    _kept: dict[object, tuple[Event, bytes]] = attrs.field(init=False, factory=dict)
    _bytes: int = attrs.field(init=False, default=0)
    _snapshot: tuple[Snapshot | None, bytes] = attrs.field(init=False, default=(None, b""))
    _rows: Rows = attrs.field(factory=Rows)
    _flights: SingleFlight[bytes] = attrs.field(init=False, factory=SingleFlight)

    async def of(self, batch: Iterable[Event]) -> bytes:
        """A batch of events as it goes over the wire."""
        return b"".join(
            [await self._whole(event) if isinstance(event, Snapshot) else self._frame(event) for event in batch]
        )

    async def _whole(self, snapshot: Snapshot) -> bytes:
        if self._snapshot[0] != snapshot:
            return await self._flights.get(_Same(snapshot), lambda: self._made(snapshot))
        return self._snapshot[1]

    async def _made(self, snapshot: Snapshot) -> bytes:
        pace = Pace()
        members = await pace.json_list(map(render.member, snapshot.members))
        instances = await pace.joined(map(self._rows.of, snapshot.instances))
        made = b'event: snapshot\ndata: {"members":%b,"instances":%b}\n\n' % (members, instances)
        self._snapshot = (snapshot, made)
        return made

    def _frame(self, event: Event) -> bytes:
        match event:
            case InstanceEvent(kind=kind, instance=instance):
                # By identity: nodes hand out the same instance for as long as it is the same, and hashing it is dear.
                return self._one((kind, id(instance)), event)
            case MemberEvent():
                return self._one(event, event)
            case _:
                return frame(event)

    def _one(self, key: object, event: Event) -> bytes:
        kept = self._kept.get(key)
        if kept is not None:
            return kept[1]
        made = frame(event)
        while self._kept and self._bytes + len(made) > self._bytes_max:
            _, oldest = self._kept.pop(next(iter(self._kept)))
            self._bytes -= len(oldest)
        self._kept[key] = (event, made)  # with the event, so that no other instance can have its id
        self._bytes += len(made)
        return made
