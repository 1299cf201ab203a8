"""Encoded events: each is encoded once for all watchers that receive it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from zlib import crc32

import attrs

from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.frontends.http import render
from gossipreg.frontends.http.lookups import RowCache
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import ByteChunks, encode
from gossipreg.frontends.serving.time_slices import SingleFlight, TimeSlicer
from gossipreg.model import Instance
from gossipreg.values import frozen

#: Instances in one piece of a snapshot: about, and at most. Of two snapshots between which one instance has changed,
#: all pieces but one are the same, which is what a slow client may hold for itself: some 16 KiB.
_GROUP: Final = 32
_GROUP_MAX: Final = 128

Group = tuple[Instance, ...]


def frame(event: Event) -> bytes:
    """One event as it goes over the wire."""
    name, data = render.event(event)
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), encode(data))


@frozen
class _Same:
    """A snapshot as a key: hashing thousands of instances costs more than comparing those that are the same."""

    snapshot: Snapshot

    def __hash__(self) -> int:
        return len(self.snapshot.instances)


@attrs.define(eq=False, repr=False)
class EventEncoder:
    """The last events in their encoded form.

    Theory of operation. A slow client holds what is being sent until it has taken it. So that each costs little, a
    long snapshot is cut into pieces, and one is made of pieces of the last wherever its instances are the same. Cuts
    depend on the instances' ids, not on their places, so an instance that comes or goes moves no other cut.

    All watchers receive the same instances and members, so what was encoded for the first is sent to the others. Of
    snapshots, the last is kept: clients that come back all at once, after a restart of what led to them, want the same.
    """

    _bytes_max: int = limits.FRAME_CACHE_BYTES
    _kept: dict[object, tuple[Event, bytes]] = attrs.field(init=False, factory=dict)
    _bytes: int = attrs.field(init=False, default=0)
    _snapshot: tuple[Snapshot | None, bytes | ByteChunks] = attrs.field(init=False, default=(None, b""))
    _groups: dict[tuple[int, ...], tuple[Group, bytes]] = attrs.field(init=False, factory=dict)  # of that snapshot
    _rows: RowCache = attrs.field(factory=RowCache)
    _flights: SingleFlight[bytes | ByteChunks] = attrs.field(init=False, factory=SingleFlight)

    async def of(self, batch: Sequence[Event]) -> bytes | ByteChunks:
        """A batch of events as it goes over the wire. A snapshot comes alone."""
        if len(batch) == 1 and isinstance(batch[0], Snapshot):
            return await self._whole(batch[0])
        return b"".join(map(self._frame, batch))

    async def _whole(self, snapshot: Snapshot) -> bytes | ByteChunks:
        if self._snapshot[0] != snapshot:
            return await self._flights.get(_Same(snapshot), lambda: self._made(snapshot))
        return self._snapshot[1]

    async def _made(self, snapshot: Snapshot) -> bytes | ByteChunks:
        slicer = TimeSlicer()
        members = await slicer.json_list(map(render.member, snapshot.members))
        before, groups = self._groups, dict[tuple[int, ...], tuple[Group, bytes]]()
        parts = [b'event: snapshot\ndata: {"members":%b,"instances":[' % members]
        async for group in slicer.over(_groups(snapshot.instances)):
            key = tuple(map(id, group))
            kept = before.get(key)
            if kept is None:
                kept = (group, b"%b," % b",".join(map(self._rows.of, group)))
            groups[key] = kept  # with the instances, so that no others can have their ids
            parts.append(kept[1])
        if len(parts) > 1:
            parts[-1] = parts[-1][:-1]  # no comma after the last
        parts.append(b"]}\n\n")
        size = sum(map(len, parts))
        made = b"".join(parts) if size <= limits.SEND_BYTES else ByteChunks(tuple(parts), size)
        self._snapshot, self._groups = (snapshot, made), groups
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


def _groups(instances: Iterable[Instance]) -> Iterator[Group]:
    """``instances`` in their order, cut after each whose id says so."""
    group: list[Instance] = []
    for each in instances:
        group.append(each)
        if crc32(each.id.encode()) % _GROUP == 0 or len(group) >= _GROUP_MAX:
            yield tuple(group)
            group = []
    if group:
        yield tuple(group)
