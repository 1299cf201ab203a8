"""The query cache: keeps encoded answers, and lets blocking queries wait until one changes.

An answer is encoded once for all clients that send the same query. It is made again when the index that it depends on
moved: a service's, or that of everything. If the same bytes come of it, its own index stays; so a query is not woken by
what it does not show. Own indexes never fall: they are taken from the one that moved last.

What is not kept any more, because others are asked for more often, gets the index that stands when it is next asked
for: a client is told once too often what it knows.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import attrs
import trio

from gossipreg.frontends.serving import settling
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.time_slices import TimeSlicer

#: Answers kept (bytes), and how many: a thousand services of ordinary size.
_BYTES_MAX: Final = 8 * 1024 * 1024
_ANSWERS_MAX: Final = 4096

#: How many times as long as an answer took to make it is left alone before it is made again for those who wait: what is
#: large and changes all the time keeps this node busy for a tenth of its time at most. Quick ones (seconds) are not.
_RESTS: Final = 9
_QUICK: Final = 0.002

#: A service that cannot exist, since this is no name.
_NOBODYS: Final = ""


@attrs.frozen
class CachedQuery:
    """One query: the service whose index it hangs on, or None for everything, what makes it one, and its answer.

    The answer is JSON, made in slices by `TimeSlicer`.
    """

    service: str | None
    key: Hashable
    make: Callable[[TimeSlicer], Awaitable[bytes]]


@attrs.frozen
class KeptResponse:
    """An answer, the index at which it changed last, and the one at which it was last looked at."""

    body: bytes
    index: int
    seen: int
    rest: float  # until when (`time.monotonic`) waiting clients do not have it made again


@attrs.define(eq=False, repr=False)
class QueryCache:
    """The answers of one node to Consul's clients."""

    node: NodeApi
    _began: int  # its generation, in ms since the epoch
    _kept: IndexedCache[KeptResponse] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._kept = IndexedCache(_BYTES_MAX, lambda kept: len(kept.body), _ANSWERS_MAX)

    async def read(self, asked: CachedQuery) -> KeptResponse:
        """The answer as it is now."""
        now = self.node.index(asked.service)
        return await self._kept.fetch(asked.key, now, lambda: self._made(asked, now))

    async def _made(self, asked: CachedQuery, now: int) -> tuple[KeptResponse, bool]:
        slicer = TimeSlicer()
        body = await asked.make(slicer)
        took = slicer.worked
        kept = self._kept.last(asked.key)
        # What has no instances has the lowest index there is, which is raised when the node takes a later generation.
        index = now if kept is None or kept.body != body else max(kept.index, self.node.index(_NOBODYS))
        return KeptResponse(body, index, now, time.monotonic() + (_RESTS * took if took > _QUICK else 0.0)), True

    def settles_in(self) -> float:
        """How long it may still take this node to learn what others offer (seconds); 0 if it knows.

        Until then answers wait: a client that gets an empty list from a restarted agent would drop all instances.
        A node that has no other member is alone, or will learn of one at once.
        """
        age = abs(time.time() - self._began / 1000)
        if age >= settling.SETTLE_SECONDS:
            return 0.0
        is_alone = len(self.node.members()) == 1
        return max(0.0, (settling.SETTLE_SECONDS / 10 if is_alone else settling.SETTLE_SECONDS) - age)

    async def changed(self, asked: CachedQuery, index: int, seconds: float) -> KeptResponse:
        """The answer once its index is not ``index`` any more, or the time is over (seconds). Raises ``NodeClosed``."""
        with trio.move_on_after(seconds):
            while (kept := await self.read(asked)).index == index:
                await self.node.wait_changed(asked.service, kept.seen)
                await trio.sleep(max(0.0, kept.rest - time.monotonic()))
        return await self.read(asked)
