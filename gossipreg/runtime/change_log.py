"""Knows what changed lately, by name, so that many watchers can each catch up at their own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

import attrs
import trio

#: Changes remembered. A watcher that falls further behind looks at everything again; it loses nothing.
_KEPT = 4096

#: What changed: a service or a member, and its name; a policy, and its key; the term register of a service, and its
#: name; a check of our own, and its instance's id and its own name; or whether this node is isolated, and its name.
Entry = tuple[Literal["service", "member", "policy", "term", "check", "node"], str]


@attrs.define(eq=False, repr=False)
class ChangeLog:
    """A running list of what changed, with a bell for all of it and one for each thing that somebody waits for.

    A watcher holds nothing here: no queue that could fill, nothing to give back when it goes away. It remembers how
    far it has read and waits for a bell. A slow one merges changes and never slows others; one that waits for a
    single service sleeps through all the rest.
    """

    position: int = 0
    closed: bool = False
    _entries: deque[Entry] = attrs.field(factory=lambda: deque(maxlen=_KEPT))
    _any: trio.Event = attrs.field(factory=trio.Event)
    _bells: dict[Entry, trio.Event] = attrs.field(factory=dict)

    def write(self, entries: Iterable[Entry]) -> None:
        """These have changed."""
        for entry in entries:
            self._entries.append(entry)
            self.position += 1
            bell = self._bells.pop(entry, None)
            if bell is not None:
                bell.set()
        self._any.set()
        self._any = trio.Event()

    def raise_to(self, position: int) -> None:
        """Go on from ``position``, unless it is there already; watchers then look at everything again."""
        if position > self.position:
            self._entries.clear()
            self.position = position
            self._any.set()
            self._any = trio.Event()

    def close(self) -> None:
        """Nothing will change any more."""
        self.closed = True
        for bell in self._bells.values():
            bell.set()
        self._bells.clear()
        self._any.set()

    def since(self, position: int) -> list[Entry] | None:
        """What changed after ``position``, each thing once; None when that is too long ago to tell."""
        behind = self.position - position
        if behind > len(self._entries):
            return None
        start = len(self._entries) - behind
        return list(dict.fromkeys(self._entries[index] for index in range(start, len(self._entries))))

    async def wait(self, position: int) -> None:
        """Return once anything has changed after ``position``, or nothing will any more."""
        while self.position == position and not self.closed:
            await self._any.wait()

    async def wait_for(self, entry: Entry) -> None:
        """Return once ``entry`` changes, or nothing will any more."""
        if self.closed:
            return
        bell = self._bells.setdefault(entry, trio.Event())
        try:
            await bell.wait()
        finally:
            if self._bells.get(entry) is bell and not bell.statistics().tasks_waiting:
                del self._bells[entry]  # everybody gave up before it rang
