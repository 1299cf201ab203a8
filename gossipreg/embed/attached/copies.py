"""Copies of what an attached process has looked up or watches, kept current by its agent; pure, without a clock.

Theory of operation. A copy answers from what the agent last told. Three things may differ from that:

- While the agent is away, lookups show the same instances marked ``stale``.
- An agent that was started anew knows its cluster only after a moment, and the other processes of its host register
  again. Until it has settled, instances that it does not show are held: they are answered too, marked ``stale``.
- The index of a copy grows whenever a lookup may answer differently, so also with these marks, and never falls, though
  that of another agent may be lower.

Watchers compare what they reported last with the instances without these marks: they are told of what has changed, and
not of an agent that was restarted.

A difference is applied where it is: only what it tells is compared, and the rest of the tuples is copied in C. A view
holds what became of the one before, so a watcher that has seen that compares nothing else. All instances are looked at
where marks come or go, or a view is told whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import accumulate
from typing import Any, Final

import attrs

from gossipreg.changes import InstanceDiff
from gossipreg.errors import GossipregError
from gossipreg.events import Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.model import Instance, Member
from gossipreg.protocol.registry.choose import drawn_at
from gossipreg.values import frozen

Key = tuple[str, str]  # id and owner
Pair = tuple[Instance, Instance | None]  # an instance as it is listed, and as it is called if it can serve

#: The share of a copy's instances that a difference may change where they are: each takes a search by halves and may
#: move what comes after it, so to sort and compare all is cheaper at some point.
_SPLICED_SHARE: Final = 0.25


_NO_CHANGE: Final = InstanceDiff((), (), ())


class Wakeups:
    """Futures that are settled at the next change."""

    def __init__(self) -> None:
        self._waiting: list[Future[None]] = []

    def next(self) -> Future[None]:
        """A future that is settled when something has changed."""
        self._waiting = [each for each in self._waiting if not each.done()]
        future: Future[None] = Future()
        self._waiting.append(future)
        return future

    def wake(self) -> None:
        """Settle them all."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if future.set_running_or_notify_cancel():
                future.set_result(None)


@frozen
class CopiedView:
    """One service at one moment. Replaced, never changed: any thread may read it."""

    index: int = 0
    instances: tuple[Instance, ...] = ()
    healthy: tuple[Instance, ...] = ()
    watched: tuple[Instance, ...] = ()  # the healthy ones without marks of the agent's absence
    before: tuple[Instance, ...] | None = None  # those of the view that this one was made of by `diff`
    diff: InstanceDiff | None = None

    def changes_since(self, seen: tuple[Instance, ...]) -> InstanceDiff:
        """The difference to what a watcher was told before, which it has `seen`."""
        if seen is self.watched:
            return _NO_CHANGE
        return self.diff if self.diff is not None and seen is self.before else InstanceDiff.between(seen, self.watched)

    @cached_property
    def shares(self) -> tuple[int, ...]:
        """The running total of the weights of the healthy ones, added up at the first draw."""
        return tuple(accumulate(each.weight if each.port else 0 for each in self.healthy))

    def at(self, lot: float) -> Instance | None:
        """See `Choices`."""
        return drawn_at(lot, self.healthy, self.shares)


@attrs.define(eq=False, repr=False)
class ServiceCopy:
    """The copy of one service. ``told_index`` is the agent's index of what it holds, 0 if a new one has told none."""

    service: str
    view: CopiedView = attrs.field(init=False, factory=CopiedView)
    is_there: bool = attrs.field(init=False, default=False)  # it was told at all
    told_index: int = attrs.field(init=False, default=0)
    changed: Wakeups = attrs.field(init=False, factory=Wakeups)
    _told: dict[Key, Pair] = attrs.field(init=False, factory=dict)
    _held: dict[Key, Pair] = attrs.field(init=False, factory=dict)
    _staged: dict[Key, Pair | None] | None = attrs.field(init=False, default=None)  # told in part; None: removed
    _is_away: bool = attrs.field(init=False, default=False)

    def apply(
        self,
        index: int,
        removed: Iterable[Sequence[str]],
        put: Iterable[Instance | Sequence[Instance | None]],
        *,
        is_whole: bool,
        is_last: bool,
        holds: bool,
    ) -> None:
        """Take in one piece of what the agent tells; the last one makes it valid.

        ``is_whole``: it is a whole view, and not a difference. ``holds``: the agent has not settled.
        """
        if self._staged is None:
            self._staged = {}
        for id_, owner in removed:
            self._staged[id_, owner] = None
        for entry in put:
            pair = _pair(entry)
            key = pair[0].id, pair[0].owner
            before = self._told.get(key)
            self._staged[key] = before if before == pair else pair  # the same object, if nothing has changed
        if not is_last:
            return
        staged, self._staged = self._staged, None
        changes = {key: pair for key, pair in staged.items() if pair is not self._told.get(key)}
        was_marked = self._is_away or bool(self._held)
        if is_whole:
            gone = {key: pair for key, pair in self._told.items() if staged.get(key) is None}
            self._told = {key: pair for key, pair in staged.items() if pair is not None}
        else:
            gone = {key: self._told[key] for key, pair in changes.items() if pair is None}
            self._put(changes)
        held = {**self._held, **gone} if holds else {}
        self._held = {key: pair for key, pair in held.items() if key not in self._told}
        self.told_index, self.is_there, self._is_away = index, True, False
        if is_whole or was_marked or self._held or len(changes) > 1 + _SPLICED_SHARE * len(self._told):
            self._refresh(index)
        else:
            self._splice(index, changes)

    def _put(self, changes: Mapping[Key, Pair | None]) -> None:
        for key, pair in changes.items():
            if pair is None:
                del self._told[key]
            else:
                self._told[key] = pair

    def agent_lost(self) -> None:
        """The agent is away: mark all as stale."""
        self._staged = None
        if self.is_there and not self._is_away:
            self._is_away = True
            self._refresh(0)

    def settled(self) -> None:
        """The agent knows all that it will: what it does not show is gone."""
        if self._held:
            self._held = {}
            self._refresh(0)

    def _refresh(self, index: int) -> None:
        before = self.view
        pairs = sorted([*self._told.items(), *self._held.items()])
        marked = [_stale(pair) if self._is_away or key in self._held else pair for key, pair in pairs]
        instances = tuple(listed for listed, _ in marked)
        healthy = tuple(called for _, called in marked if called is not None)
        watched = tuple(called for _, (_, called) in pairs if called is not None)
        if (instances, healthy) == (before.instances, before.healthy):
            instances, healthy, watched = before.instances, before.healthy, before.watched
        self._replace(index, instances, healthy, watched)

    def _splice(self, index: int, changes: Mapping[Key, Pair | None]) -> None:
        """Put ``changes`` into a view without marks, and leave all else of it."""
        before = self.view
        listed = {key: None if pair is None else pair[0] for key, pair in changes.items()}
        called = {key: None if pair is None else pair[1] for key, pair in changes.items()}
        instances, _ = _spliced(before.instances, listed)
        healthy, diff = _spliced(before.healthy, called)
        self._replace(index, instances, healthy, healthy, diff if before.healthy is before.watched else None)

    def _replace(
        self,
        index: int,
        instances: tuple[Instance, ...],
        healthy: tuple[Instance, ...],
        watched: tuple[Instance, ...],
        diff: InstanceDiff | None = None,
    ) -> None:
        """Make the view anew if a reader sees a difference: the index, or one of these tuples is another object."""
        before = self.view
        if instances is before.instances and healthy is before.healthy:
            if index <= before.index:
                return
            self.view = attrs.evolve(before, index=index)
        else:
            seen = None if diff is None else before.watched
            self.view = CopiedView(max(index, before.index + 1), instances, healthy, watched, seen, diff)
        self.changed.wake()


def _spliced(
    instances: tuple[Instance, ...], changes: Mapping[Key, Instance | None]
) -> tuple[tuple[Instance, ...], InstanceDiff]:
    """``instances``, which are sorted, with ``changes``: the same object if they change nothing. And what became so."""
    spliced = list(instances)
    added, changed, removed, before = list[Instance](), list[Instance](), list[Instance](), list[Instance]()
    for key, put in changes.items():
        at = bisect_left(spliced, key, key=_key_of)
        found = spliced[at] if at < len(spliced) and _key_of(spliced[at]) == key else None
        if found is put or found == put:
            continue
        if put is None:
            removed.append(spliced.pop(at))
        elif found is None:
            spliced.insert(at, put)
            added.append(put)
        else:
            spliced[at] = put
            changed.append(put)
            before.append(found)
    diff = InstanceDiff(tuple(added), tuple(changed), tuple(removed), tuple(before))
    return (tuple(spliced) if diff else instances), diff


def _key_of(instance: Instance) -> Key:
    return instance.id, instance.owner


def _pair(entry: Any) -> Pair:
    if isinstance(entry, Instance):
        return entry, entry
    listed, called = entry
    if not isinstance(listed, Instance) or not isinstance(called, Instance | None):
        raise TypeError("no instance")
    return listed, called


def _stale(pair: Pair) -> Pair:
    listed, called = pair
    marked = attrs.evolve(listed, stale=True)
    if called is listed:
        return marked, marked
    return marked, None if called is None else attrs.evolve(called, stale=True)


@attrs.define(eq=False, repr=False)
class EventsCopy:
    """The state that one stream of events tells, from which a watcher takes what has changed since it last looked."""

    is_there: bool = attrs.field(init=False, default=False)
    changed: Wakeups = attrs.field(init=False, factory=Wakeups)
    members: dict[str, Member] = attrs.field(init=False, factory=dict)
    instances: dict[tuple[str, str, str, str], Instance] = attrs.field(init=False, factory=dict)
    refusal: GossipregError | None = attrs.field(init=False, default=None)  # why the agent tells no more
    _held: list[Any] = attrs.field(init=False, factory=list)  # keys of what an agent that has not settled lacks
    _others: dict[Any, Event] = attrs.field(init=False, factory=dict)  # the last of each kind and thing
    _staged: list[Event] = attrs.field(init=False, factory=list)

    def apply(self, events: Iterable[Event], *, is_last: bool, holds: bool) -> None:
        """Take in a piece of a batch; the last one makes it valid."""
        self._staged += events
        if not is_last:
            return
        batch, self._staged = self._staged, []
        if batch and isinstance(batch[0], Snapshot):
            self._replace([each for each in batch if isinstance(each, Snapshot)], holds=holds)
        else:
            for event in batch:
                self._take(event)
        self.changed.wake()

    def refuse(self, error: GossipregError) -> None:
        """The agent tells nothing of this, or no more."""
        self.refusal = error
        self.changed.wake()

    def agent_lost(self) -> None:
        """The agent is away: a batch that has come in part is void."""
        self._staged = []

    def settled(self) -> None:
        """The agent knows all that it will: what it does not show is gone."""
        held, self._held = self._held, []
        for key in held:
            if isinstance(key, str):
                self.members.pop(key, None)
            else:
                self.instances.pop(key, None)
        if held:
            self.changed.wake()

    def take_others(self) -> list[Event]:
        """The events that are neither about members nor instances, since the last call."""
        others, self._others = self._others, {}
        return list(others.values())

    def _replace(self, pieces: Sequence[Snapshot], *, holds: bool) -> None:
        members = {each.name: each for piece in pieces for each in piece.members}
        instances = {_key(each): each for piece in pieces for each in piece.instances}
        if holds:
            self._held = [key for key in self.members if key not in members]
            self._held += [key for key in self.instances if key not in instances]
            members, instances = {**self.members, **members}, {**self.instances, **instances}
        self.members, self.instances, self.is_there = members, instances, True

    def _take(self, event: Event) -> None:
        match event:
            case InstanceEvent(kind="removed", instance=instance):
                self.instances.pop(_key(instance), None)
            case InstanceEvent(instance=instance):
                self.instances[_key(instance)] = instance
                self._unhold(_key(instance))
            case MemberEvent(kind="left", member=member) if member.status.is_present:  # it is forgotten
                self.members.pop(member.name, None)
            case MemberEvent(member=member):
                self.members[member.name] = member
                self._unhold(member.name)
            case _:
                about = getattr(event, "instance", "") or getattr(event, "service", "")
                self._others.pop((type(event), str(about)), None)
                self._others[type(event), str(about)] = event

    def _unhold(self, key: Any) -> None:
        if key in self._held:
            self._held.remove(key)


def _key(instance: Instance) -> tuple[str, str, str, str]:
    return instance.region, instance.service, instance.owner, instance.id
