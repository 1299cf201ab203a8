"""Watches of an attached node: each compares what it reported last with the copies as they are now."""

from __future__ import annotations

from typing import Any, Self

from gossipreg.changes import InstanceDiff, member_transition
from gossipreg.embed.attached.copies import CopiedView, EventsCopy, ServiceCopy
from gossipreg.embed.attached.link import Link
from gossipreg.embed.attached.steps import Settled
from gossipreg.errors import NodeClosed
from gossipreg.events import Event, MemberEvent, ServiceChange, Snapshot
from gossipreg.model import Instance


async def copied(link: Link, service: str) -> ServiceCopy:
    """The copy of ``service``, once it is there. Raises ``NodeClosed``, and why the agent refuses it."""
    link.check_open()
    copy, first = link.follow(service)
    if first is not None:
        await Settled(first)
    return copy


class AttachedServiceWatch:
    """One service's healthy instances over time, compared with what was reported last, as members' watches do."""

    def __init__(self, link: Link, service: str) -> None:
        self._link = link
        self._service = service
        self._seen: tuple[Instance, ...] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ServiceChange:
        while True:
            if self._link.has_ended:
                raise StopAsyncIteration
            try:
                copy = await copied(self._link, self._service)
            except NodeClosed:
                raise StopAsyncIteration from None
            changed = copy.changed.next()
            step = self._step(copy.view)
            if step is not None:
                return step
            await Settled(changed)

    def _step(self, view: CopiedView) -> ServiceChange | None:
        is_first = self._seen is None
        diff = view.changes_since(self._seen or ())
        if not (is_first or diff):
            return None
        self._seen = view.watched
        return ServiceChange(
            self._service, view.index, view.watched, diff.added, diff.changed, diff.removed, snapshot=is_first
        )


class AttachedEventWatch:
    """Members and instances over time, compared with what was reported last."""

    def __init__(self, link: Link, number: int, copy: EventsCopy) -> None:
        self._link = link
        self._number = number
        self._copy = copy
        self._is_first = True
        self._members: dict[str, Any] = {}
        self._instances: dict[Any, Instance] = {}

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Have the agent tell no more."""
        self._link.unfollow(self._number)

    def __del__(self) -> None:
        self._link.unfollow(self._number)

    async def __anext__(self) -> tuple[Event, ...]:
        while True:
            if self._link.has_ended:
                raise StopAsyncIteration
            changed = self._copy.changed.next()
            if self._copy.refusal is not None:
                raise self._copy.refusal
            if self._copy.is_there and (batch := self._step()):
                return batch
            await Settled(changed)

    def _step(self) -> tuple[Event, ...]:
        members, instances = dict(self._copy.members), dict(self._copy.instances)
        others = self._copy.take_others()
        before, self._members = self._members, members
        seen, self._instances = self._instances, instances
        if self._is_first:
            self._is_first = False
            return (
                Snapshot(
                    tuple(members[name] for name in sorted(members)),
                    tuple(instances[key] for key in sorted(instances)),
                ),
            )
        batch: list[Event] = []
        for name in dict.fromkeys([*before, *members]):
            was, now = before.get(name), members.get(name)
            kind = member_transition(was, now)
            told = now or was
            if kind is not None and told is not None:
                batch.append(MemberEvent(kind, told))
        batch += InstanceDiff.between(seen.values(), instances.values()).events()
        return (*batch, *others)
