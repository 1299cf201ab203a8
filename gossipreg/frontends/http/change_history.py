"""Change history: the changes of the last hour, and since when each present problem has existed.

One for each listener. It follows the node's events and keeps a bounded number of changes, so that a person who comes
to a problem late can see how it began. Times are those of this host's wall clock.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from typing import Any

import attrs

from gossipreg.errors import NameConflict, NodeClosed
from gossipreg.events import CheckEvent, Event, InstanceEvent, MemberEvent, NodeEvent, RoleEvent, Snapshot
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import Health, Instance, Member, Status
from gossipreg.values import frozen

Json = dict[str, Any]

#: Names an instance: its service, its owner and its id.
_Key = tuple[str, str, str]

#: What of an instance is told when it has changed.
_TOLD = ("health", "weight", "role", "term", "host", "port", "zone", "tags")


@frozen
class PastChange:
    """One change, as it is told: when (seconds since the epoch), and its fields, ``event`` first."""

    at: float
    service: str | None  # None if it is about a member or the node
    fields: Json


@attrs.define(eq=False, repr=False)
class ChangeHistory:
    """The latest changes, and since when members and instances are not well.

    ``clock`` gives seconds since the epoch.
    """

    _clock: Callable[[], float] = time.time
    _changes: deque[PastChange] = attrs.field(init=False, factory=deque)
    _members: dict[str, tuple[tuple[Status, bool], float]] = attrs.field(init=False, factory=dict)
    _instances: dict[_Key, tuple[Health, float]] = attrs.field(init=False, factory=dict)
    began: float | None = attrs.field(init=False, default=None)  # when it began to follow a node
    _dropped: float = attrs.field(init=False, default=0.0)  # when the last change that was dropped had happened

    async def follow(self, node: NodeApi) -> None:
        """Keep what changes from now on, until the node closes or this is cancelled."""
        with suppress(NodeClosed, NameConflict):
            async with aclosing(node.events(healthy=False)) as batches:
                async for batch in batches:
                    self.keep(batch)

    def keep(self, batch: Iterable[Event]) -> None:
        """Keep a batch of events that has just come."""
        now = self._clock()
        for event in batch:
            change = self._noted(event, now)
            if change is not None:
                self._changes.append(change)
        self._forget(now)

    @property
    def complete_from(self) -> float | None:
        """From when on no change is missing (seconds since the epoch); None if nothing was followed yet."""
        return None if self.began is None else max(self.began, self._dropped)

    def changes(self, service: str | None = None) -> list[PastChange]:
        """The changes of the last hour, of one service or of everything, the latest last."""
        self._forget(self._clock())
        return [each for each in self._changes if service in (None, each.service)]

    def since(self, service: str | None = None) -> Json:
        """Since when members are not simply alive, and instances not passing; never before `began`."""
        return {
            "members": {name: at for name, (state, at) in self._members.items() if state != (Status.ALIVE, False)},
            "instances": [
                {"service": key[0], "owner": key[1], "id": key[2], "at": at}
                for key, (_, at) in self._instances.items()
                if service in (None, key[0])
            ],
        }

    def _noted(self, event: Event, now: float) -> PastChange | None:
        """Take the event into account; the change to keep, if it is one."""
        match event:
            case Snapshot():
                self.began = now
                for member in event.members:
                    self._see_member(member, now)
                for instance in event.instances:
                    self._see_instance(instance, now)
                return None
            case InstanceEvent():
                if event.kind == "removed":
                    self._instances.pop(_key(event.instance), None)
                else:
                    self._see_instance(event.instance, now)
                return PastChange(now, event.instance.service, _of_instance(event))
            case MemberEvent():
                self._see_member(event.member, now)
                about: Json = {"member": event.member.name, "status": str(event.member.status)}
                return PastChange(
                    now, None, {"event": f"member-{event.kind}", **about, "draining": event.member.draining}
                )
            case CheckEvent():
                about = {"service": event.service, "id": event.instance, "check": event.check, "health": event.health}
                return PastChange(now, event.service, {"event": f"check-{event.kind}", **about})
            case RoleEvent():
                primary = None if event.primary is None else event.primary.id
                about = {"service": event.service, "primary": primary, "contenders": [e.id for e in event.contenders]}
                return PastChange(now, event.service, {"event": f"role-{event.kind}", **about})
            case NodeEvent():
                return PastChange(now, None, {"event": f"node-{event.kind}", "reachable": round(event.reachable, 4)})

    def _see_member(self, member: Member, now: float) -> None:
        state = (member.status, member.draining)
        if self._members.get(member.name, (None,))[0] != state:
            self._members[member.name] = (state, now)

    def _see_instance(self, instance: Instance, now: float) -> None:
        key = _key(instance)
        if instance.health is Health.PASSING:
            self._instances.pop(key, None)
        elif self._instances.get(key, (None,))[0] is not instance.health:
            self._instances[key] = (instance.health, now)

    def _forget(self, now: float) -> None:
        """Drop what is too old, or too much."""
        oldest = now - limits.CHANGES_SECONDS
        while self._changes and (len(self._changes) > limits.CHANGES_MAX or self._changes[0].at < oldest):
            self._dropped = self._changes.popleft().at


def _key(instance: Instance) -> _Key:
    return instance.service, instance.owner, instance.id


def _of_instance(event: InstanceEvent) -> Json:
    instance, before = event.instance, event.before
    told: Json = {
        "event": f"instance-{event.kind}",
        "service": instance.service,
        "owner": instance.owner,
        "id": instance.id,
        "health": instance.health,
        "reason": instance.reason,
    }
    if before is not None:
        told["was"] = dict(_differences(before, instance))
        told["is"] = dict(_differences(instance, before))
    return told


def _differences(one: Instance, other: Instance) -> Iterator[tuple[str, Any]]:
    """The fields of ``one`` that differ in ``other``, of those that are told."""
    for name in _TOLD:
        value = getattr(one, name)
        if value != getattr(other, name):
            yield name, value


def render(change: PastChange) -> Json:
    """One change in JSON."""
    return {"at": round(change.at, 3), **change.fields}
