"""The cache of answers: each is valid as long as the index at which it was made is current."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs

from gossipreg.frontends.serving.time_slices import SingleFlight

Value = TypeVar("Value")


@attrs.define(eq=False, repr=False)
class IndexedCache(Generic[Value]):
    """Values by key, each with the index that it was made at, such as a service's (see `NodeApi.index`).

    ``size_max`` bounds the sum of the values' sizes, which ``size`` gives: their lengths by default. ``entries_max``
    bounds how many there are. Beyond either, the least recently used go first. The newest always stays, even if it is
    larger than the bound by itself.
    """

    size_max: float
    _size: Callable[[Value], int] = len  # type: ignore[assignment] # for values that have a length
    _entries_max: float = float("inf")
    _kept: OrderedDict[Hashable, tuple[Hashable, Value]] = attrs.field(init=False, factory=OrderedDict)
    _flights: SingleFlight[Value] = attrs.field(init=False, factory=SingleFlight)
    total: int = attrs.field(init=False, default=0)  # of the sizes of all that is kept

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, index: Hashable) -> Value | None:
        """The value, if it was made at ``index``; it counts as used."""
        kept = self._kept.get(key)
        if kept is None or kept[0] != index:
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def last(self, key: Hashable) -> Value | None:
        """The value, whichever index it was made at."""
        kept = self._kept.get(key)
        return None if kept is None else kept[1]

    def put(self, key: Hashable, index: Hashable, value: Value) -> None:
        """Keep a value that was made at ``index``, in place of any other of that key."""
        self.drop(key)
        self._kept[key] = (index, value)
        self.total += self._size(value)
        while len(self._kept) > 1 and (self.total > self.size_max or len(self._kept) > self._entries_max):
            self.drop(next(iter(self._kept)))

    def drop(self, key: Hashable) -> None:
        """Forget a value."""
        kept = self._kept.pop(key, None)
        if kept is not None:
            self.total -= self._size(kept[1])

    async def fetch(self, key: Hashable, index: Hashable, make: Callable[[], Awaitable[tuple[Value, bool]]]) -> Value:
        """The value at ``index``: the cached one, or one that is made once for all concurrent callers.

        ``make`` returns the value and whether it is worth keeping.
        """
        kept = self.get(key, index)
        if kept is not None:
            return kept
        return await self._flights.get((key, index), lambda: self._made(key, index, make))

    async def _made(self, key: Hashable, index: Hashable, make: Callable[[], Awaitable[tuple[Value, bool]]]) -> Value:
        value, is_kept = await make()
        if is_kept:
            self.put(key, index, value)
        else:
            self.drop(key)
        return value


@attrs.define(eq=False, repr=False)
class SharedCache(Generic[Value]):
    """Values of several holders, each by a key. Where there are too many, the holder of most gives up its least used.

    So what clients make up, which is all of one holder, pushes out nothing of another. ``cost_max`` bounds the sum of
    what ``cost`` gives for each value. The last one that is left stays, even if it is larger by itself.
    """

    cost_max: int
    _cost: Callable[[Value], int]
    _kept: dict[Hashable, OrderedDict[Hashable, Value]] = attrs.field(init=False, factory=dict)
    _costs: Counter[Hashable] = attrs.field(init=False, factory=Counter)
    total: int = attrs.field(init=False, default=0)  # of the costs of all that is kept

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def get(self, holder: Hashable, key: Hashable) -> Value | None:
        """The value; it counts as used."""
        kept = self._kept.get(holder)
        value = None if kept is None else kept.get(key)
        if kept is not None and value is not None:
            kept.move_to_end(key)
        return value

    def put(self, holder: Hashable, key: Hashable, value: Value) -> None:
        """Keep a value, in place of any other of that key."""
        self._drop(holder, key)
        self._kept.setdefault(holder, OrderedDict())[key] = value
        cost = self._cost(value)
        self._costs[holder] += cost
        self.total += cost
        while self.total > self.cost_max and (len(self._kept) > 1 or len(self._kept[holder]) > 1):
            [(most, _)] = self._costs.most_common(1)
            self._drop(most, next(iter(self._kept[most])))

    def _drop(self, holder: Hashable, key: Hashable) -> None:
        kept = self._kept.get(holder)
        if kept is None or key not in kept:
            return
        cost = self._cost(kept.pop(key))
        self._costs[holder] -= cost
        self.total -= cost
        if not kept:
            del self._kept[holder], self._costs[holder]
