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
from typing import Any, Final, Generic, TypeVar

import attrs
import trio

from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import Body, ByteChunks, encode

T = TypeVar("T")

#: Steps of decoding beyond which a lookup of what was decoded takes more than a fraction of a millisecond.
_STEPS_MANY: Final = 64

#: About how long the chunks of a long list are (bytes).
_CHUNK_BYTES: Final = 16_384


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

    async def json_chunks(self, rows: Iterable[Any]) -> Body:
        """``rows`` as a JSON list, in several chunks if it is long: to join tens of megabytes takes too long a time."""
        chunks = [b"["]
        some, some_size = list[bytes](), 0
        async for row in self.over(rows):
            encoded = encode(row)
            some.append(encoded)
            some_size += len(encoded) + 1
            if some_size >= _CHUNK_BYTES:
                chunks.append(b",".join([*some, b""]))
                some, some_size = [], 0
        if some:
            chunks.append(b",".join(some))
        elif len(chunks) > 1:
            chunks[-1] = chunks[-1][:-1]  # no comma after the last
        chunks.append(b"]")
        size = sum(map(len, chunks))
        return b"".join(chunks) if size <= limits.SEND_BYTES else ByteChunks(tuple(chunks), size)

    async def joined(self, rows: Iterable[bytes]) -> bytes:
        """``rows``, which are JSON, as a JSON list."""
        return _list([row async for row in self.over(rows)])


async def decoded(node: NodeApi, service: str) -> None:
    """Return once lookups of ``service`` take no longer than others, however many instances it has."""
    steps = 0
    async for _ in TimeSlicer().over(node.decode(service)):
        steps += 1
    if steps > _STEPS_MANY:
        await trio.lowlevel.checkpoint()  # that lookup takes milliseconds, too


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
