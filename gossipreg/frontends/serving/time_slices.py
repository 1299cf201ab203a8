"""Slices: long answers are made a little at a time, so that no request holds up the node.

Theory of operation. One thread serves gossip, health checks and all clients. A list of thousands of rows, filtered and
written as JSON, takes it a tenth of a second and more: long enough for a peer to wonder. So work on many rows goes
through `TimeSlicer.over`, which yields to other tasks every `limits.SLICE_SECONDS`. Its input must not change
meanwhile: a lookup's tuple does not, and an answer's index is read before its rows are.

Since others have their turn, several may come to make the same answer. `SingleFlight` has the first make it for all.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable
from time import perf_counter
from typing import Any, Generic, TypeVar

import attrs
import trio

from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import encode

T = TypeVar("T")


@attrs.define(eq=False, repr=False)
class TimeSlicer:
    """The work on one answer. ``worked`` is what it has taken so far, turns of others left out (seconds)."""

    worked: float = 0.0

    async def over(self, items: Iterable[T]) -> AsyncGenerator[T, None]:
        """Yield each of ``items``, and let others have their turn now and then.

        A loop over it that may end early, or that waits for something itself, must close it (``aclosing``).
        """
        began = perf_counter()
        for item in items:
            yield item
            took = perf_counter() - began
            if took >= limits.SLICE_SECONDS:
                self.worked += took
                await trio.lowlevel.checkpoint()
                began = perf_counter()
        self.worked += perf_counter() - began

    async def json_list(self, rows: Iterable[Any]) -> bytes:
        """``rows`` as a JSON list. They are made as they are asked for; None stands for one that is left out."""
        return _list([encode(row) async for row in self.over(rows) if row is not None])

    async def joined(self, rows: Iterable[bytes]) -> bytes:
        """``rows``, which are JSON, as a JSON list."""
        return _list([row async for row in self.over(rows)])


def _list(rows: list[bytes]) -> bytes:
    """``rows`` as a JSON list, copied once: each copy of a long list blocks all other tasks for milliseconds."""
    if not rows:
        return b"[]"
    rows[0] = b"[" + rows[0]
    rows[-1] += b"]"
    return b",".join(rows)


@attrs.define(eq=False, repr=False)
class _Flight(Generic[T]):
    landed: trio.Event = attrs.field(factory=trio.Event)
    made: list[T] = attrs.field(factory=list)  # one, when it is there


@attrs.define(eq=False, repr=False)
class SingleFlight(Generic[T]):
    """Makes each thing once for all who ask for it while it is being made."""

    _flights: dict[Hashable, _Flight[T]] = attrs.field(init=False, factory=dict)

    async def get(self, key: Hashable, make: Callable[[], Awaitable[T]]) -> T:
        """What ``make`` makes, or made for another. Where the other was cancelled or failed, it is made here."""
        while (under_way := self._flights.get(key)) is not None:
            await under_way.landed.wait()
            if under_way.made:
                return under_way.made[0]
        flight = self._flights[key] = _Flight[T]()
        try:
            flight.made.append(await make())
        finally:
            del self._flights[key]
            flight.landed.set()
        return flight.made[0]
