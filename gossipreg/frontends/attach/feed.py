"""Feed: one service that attached processes follow, as it is now, and what has changed since they were last told.

Theory of operation. All processes that follow a service are told the same, so a difference is found and packed once.
The feed holds the last differences between its states, each with the index that it leads from and to. A process is told
those since the index that it was last told, as one; most are at the same index, so what is packed for one is sent to
the others. A process that is further behind than the feed remembers is told the whole. Differences are found by the
chunks of rows that two views do not share (docs/decisions/0079), so a change costs what it changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
import msgpack

from gossipreg import limits
from gossipreg.attach import frames
from gossipreg.attach.values import default
from gossipreg.model import Instance
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.values import frozen

Key = tuple[str, str]  # id and owner
Pair = tuple[Instance, Instance | None]  # an instance as it is listed, and as it is called if it can serve

#: The changes that the differences of a feed hold at least. Beyond it they hold as many as the service has instances:
#: a process that is further behind is told the whole, which is as long.
_CHANGES_HELD: Final = 1024

#: The differences of a feed: to put many small ones together takes longer than to tell the whole.
_STEPS_HELD: Final = 256

#: What a view is that nothing was told of.
_NOTHING: Final = ServiceView(0)


@frozen
class Step:
    """One difference: from a state with an index to the next one. None in place of a pair: it was removed."""

    before: int
    after: int
    changes: Mapping[Key, Pair | None]


@attrs.define(eq=False, repr=False)
class ServiceFeed:
    """One service that is followed. ``look`` returns its present view."""

    service: str
    _look: Callable[[], ServiceView]
    index: int = attrs.field(init=False, default=0)
    _view: ServiceView = attrs.field(init=False, default=_NOTHING)
    _state: dict[Key, Pair] = attrs.field(init=False, factory=dict)
    _steps: deque[Step] = attrs.field(init=False, factory=deque)
    _changes_held: int = attrs.field(init=False, default=0)
    _packed: dict[int, bytes] = attrs.field(init=False, factory=dict)  # one frame, by the index that was told

    def update(self) -> bool:
        """Take in what has changed in the service; whether anything has."""
        view = self._look()
        if view.index == self.index:
            return False
        changes = self._differences(view)
        for key, pair in changes.items():
            if pair is None:
                self._state.pop(key, None)
            else:
                self._state[key] = pair
        self._steps.append(Step(self.index, view.index, changes))
        self._changes_held += len(changes)
        while len(self._steps) > _STEPS_HELD or self._changes_held > max(_CHANGES_HELD, len(self._state)):
            self._changes_held -= len(self._steps.popleft().changes)
        self.index, self._view = view.index, view
        self._packed.clear()
        return True

    def _differences(self, view: ServiceView) -> dict[Key, Pair | None]:
        called = view.changes_since(self._view)
        listed = view.changes_since(self._view, healthy=False)
        calls: dict[Key, Instance | None] = {_key(each): None for each in called.removed}
        calls |= {_key(each): each for each in (*called.added, *called.changed)}
        lists = {_key(each): each for each in (*listed.added, *listed.changed)}
        changes: dict[Key, Pair | None] = {}
        for key in {**calls, **lists}:
            before = self._state.get(key)
            shown = lists.get(key) or (None if before is None else before[0])
            if shown is not None:
                changes[key] = shown, calls[key] if key in calls else None if before is None else before[1]
        return changes | dict.fromkeys(map(_key, listed.removed))

    def told_from(self, told: int, number: int) -> Iterator[bytes]:
        """The frames that tell a process what has changed since the index ``told``; all of it if that is 0.

        ``number`` is that under which the process follows the service.
        """
        packed = self._packed.get(told)
        if packed is None:
            for content in self._contents(told):
                yield frames.pack_view(number, content)
        else:
            yield frames.pack_view(number, packed)

    def _contents(self, told: int) -> Iterator[bytes]:
        """What comes after the number in each frame. What is one frame is kept for the next process."""
        index = self.index
        changes = self._since(told) if told else None
        is_whole = changes is None
        if changes is None:
            changes = self._state
        removed = [list(key) for key, pair in changes.items() if pair is None]
        put = [_entry(*pair) for pair in changes.values() if pair is not None]
        size = limits.ATTACH_INSTANCES_PER_FRAME
        for start in range(0, max(1, len(put)), size):
            piece, last = put[start : start + size], start + size >= len(put)
            items: Sequence[Any] = (index, is_whole, last, removed if start == 0 else [], piece)
            content = b"".join([msgpack.packb(each, default=default, strict_types=True) for each in items])
            if start == 0 and last:
                self._packed[told] = content
            yield content

    def _since(self, told: int) -> Mapping[Key, Pair | None] | None:
        """What has changed since the index ``told``; None if that is not known any more."""
        merged: dict[Key, Pair | None] = {}
        if told == self.index:
            return merged
        begun = False
        for step in self._steps:
            begun = begun or step.before == told
            if begun:
                merged |= step.changes
        return merged if begun else None


@attrs.define(eq=False, repr=False)
class Followed:
    """One service that a process follows. ``index`` is that of what it was last told, 0 if it was told nothing."""

    feed: ServiceFeed
    index: int = 0
    _is_told: bool = attrs.field(init=False, default=False)

    @classmethod
    def of(cls, feed: ServiceFeed, known: int) -> Followed:
        """``known``: the index of the copy that the process has; if it is the present one, that is not told again."""
        feed.update()
        return cls(feed, known if known == feed.index else 0)

    def step(self, number: int) -> Iterable[bytes]:
        """The frames that tell what has changed since the last step; what they hold is as it is now."""
        feed = self.feed
        feed.update()
        if self._is_told and self.index == feed.index:
            return ()
        told, self.index, self._is_told = self.index, feed.index, True
        return feed.told_from(told, number)


def _key(instance: Instance) -> Key:
    return instance.id, instance.owner


def _entry(listed: Instance, called: Instance | None) -> Instance | list[Instance | None]:
    """Most instances are called as they are listed: these stand alone."""
    return listed if called is listed or called == listed else [listed, called]
