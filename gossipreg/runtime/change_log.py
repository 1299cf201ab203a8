"""Change log: the names of recent changes, from which many watchers catch up, each at its own pace."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

import attrs
import trio

#: How many changes are remembered. A watcher that falls further behind compares everything, so it loses nothing.
_KEPT = 4096

#: What changed: a service or a member, and its name; a policy, and its key; what is stated about the keys of the
#: gossip; the term register of a service, and its name; a check of our own, and its instance's id and its own name; or
#: whether this node is isolated, and its name.
Entry = tuple[Literal["service", "member", "policy", "keys", "term", "check", "node"], str]


@attrs.define(eq=False, repr=False)
class ChangeLog:
    """A running list of what changed, with one event for any change and one for each entry that a task waits for.

    A watcher holds nothing here: no queue that could fill, nothing to release when it goes away. It remembers how far
    it has read and waits for an event. A slow one merges changes and never slows others; one that waits for a single
    service is not woken by other changes.
    """

    position: int = 0
    closed: bool = False
    _entries: deque[Entry] = attrs.field(factory=lambda: deque(maxlen=_KEPT))
    _any: trio.Event = attrs.field(factory=trio.Event)
    _events: dict[Entry, trio.Event] = attrs.field(factory=dict)

    def write(self, entries: Iterable[Entry]) -> None:
        """Append changes and wake the tasks that wait for them."""
        for entry in entries:
            self._entries.append(entry)
            self.position += 1
            event = self._events.pop(entry, None)
            if event is not None:
                event.set()
        self._any.set()
        self._any = trio.Event()

    def raise_to(self, position: int) -> None:
        """Raise the position to ``position``, unless it is as high already; watchers then compare everything."""
        if position > self.position:
            self._entries.clear()
            self.position = position
            self._any.set()
            self._any = trio.Event()

    def close(self) -> None:
        """Wake all waiting tasks: nothing will change any more."""
        self.closed = True
        for event in self._events.values():
            event.set()
        self._events.clear()
        self._any.set()

    def since(self, position: int) -> list[Entry] | None:
        """The entries that changed after ``position``, each once; None when they are no longer remembered."""
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
        event = self._events.setdefault(entry, trio.Event())
        try:
            await event.wait()
        finally:
            if self._events.get(entry) is event and not event.statistics().tasks_waiting:
                del self._events[entry]  # every waiting task was cancelled
