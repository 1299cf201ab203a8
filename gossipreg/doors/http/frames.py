"""Knows events as they go over the wire, each made once for all who are told of it."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from gossipreg.doors.http import limits, render
from gossipreg.doors.http.answers import encode
from gossipreg.model import Event, InstanceEvent, MemberEvent, Snapshot


def frame(event: Event) -> bytes:
    """One event as it goes over the wire."""
    name, data = render.event(event)
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), encode(data))


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

    def of(self, batch: Iterable[Event]) -> bytes:
        """A batch of events as it goes over the wire."""
        return b"".join(map(self._frame, batch))

    def _frame(self, event: Event) -> bytes:
        match event:
            case InstanceEvent(kind=kind, instance=instance):
                # By identity: nodes hand out the same instance for as long as it is the same, and hashing it is dear.
                return self._one((kind, id(instance)), event)
            case MemberEvent():
                return self._one(event, event)
            case Snapshot():
                if self._snapshot[0] != event:
                    self._snapshot = (event, frame(event))
                return self._snapshot[1]
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
