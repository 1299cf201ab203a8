"""Id locks: a change of some instances waits until no other change of one of them is in progress."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(eq=False, repr=False)
class _IdLock:
    """The lock of one id."""

    changes: int = 0  # that hold it, or will
    lock: trio.Lock = attrs.field(factory=trio.Lock)


@attrs.define(eq=False, repr=False)
class IdLocks:
    """The locks of all ids that changes in progress are about; iterating gives these ids."""

    _locks: dict[str, _IdLock] = attrs.field(init=False, factory=dict)

    def __len__(self) -> int:
        return len(self._locks)

    def __iter__(self) -> Iterator[str]:
        return iter(self._locks)

    @asynccontextmanager
    async def held(self, *ids: str) -> AsyncIterator[None]:
        """Hold the locks of these ids, none of which is given twice."""
        locks = [self._locks.setdefault(id_, _IdLock()) for id_ in sorted(ids)]  # in one order: no two wait crosswise
        for each in locks:
            each.changes += 1
        held: list[trio.Lock] = []
        try:
            for each in locks:
                try:
                    each.lock.acquire_nowait()  # nearly always: without a turn of the event loop
                except trio.WouldBlock:
                    await each.lock.acquire()
                held.append(each.lock)
            yield
        finally:
            for lock in held:
                lock.release()
            for id_ in ids:
                self._locks[id_].changes -= 1
                if not self._locks[id_].changes:
                    del self._locks[id_]
