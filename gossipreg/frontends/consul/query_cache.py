"""The query cache: keeps encoded answers, and lets blocking queries wait until one changes.

An answer is encoded once for all clients that send the same query. It is made again when the index that it depends on
moved: a service's, or that of everything. If the same bytes come of it, its own index stays; so a query is not woken by
what it does not show. Own indexes never fall: they are taken from the one that moved last.

What is not kept any more, because others are asked for more often, gets the index that stands when it is next asked
for: a client is told once too often what it knows.

A client may ask one agent after the other, through a load balancer or a list of addresses, and each agent counts for
itself. So the low bits of the index that a client is shown are a digest of the answer. An index of another agent whose
digest is that of the answer here stands for the same answer, and is waited for; otherwise such a client would be
answered at once each time, and ask again at once. A digest of so few bits may be the same by chance, so this wait is
short (docs/decisions/0050).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

import attrs
import trio

from gossipreg.frontends.serving import settling
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import NODE_SERVICE
from gossipreg.values import frozen

#: Answers kept (bytes), and how many: a thousand services of ordinary size.
_BYTES_MAX: Final = 8 * 1024 * 1024
_ANSWERS_MAX: Final = 4096

#: How many times as long as an answer took to make it is left alone before it is made again for those who wait: what is
#: large and changes all the time keeps this node busy for a tenth of its time at most. Quick ones (seconds) are not.
_RESTS: Final = 9
_QUICK: Final = 0.002

#: Bits of a shown index that are a digest of the answer. Clients in JavaScript read an index as a double, exact to 53
#: bits; the rest counts milliseconds since the epoch, which need 42 until 2109.
_DIGEST_BITS: Final = 10

#: The longest wait for a client that shows another agent's index (seconds).
FOREIGN_WAIT_SECONDS: Final = 10.0

#: A service that cannot exist, since this is no name.
_NOBODYS: Final = ""


@frozen
class CachedQuery:
    """One query: the service whose index it hangs on, or None for everything, what makes it one, and its answer.

    The answer is JSON, made in slices by `TimeSlicer`.
    """

    service: str | None
    key: Hashable
    make: Callable[[TimeSlicer], Awaitable[bytes]]


@frozen
class KeptResponse:
    """An answer, the index that clients are shown with it, and the node's index when it was last looked at."""

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
        now = self._now(asked.service)
        return await self._kept.fetch(asked.key, now, lambda: self._made(asked, now))

    def _now(self, service: str | None) -> tuple[int, int]:
        """The indexes that an answer hangs on: the service's, or that of everything, and that of what nodes state."""
        return self.node.index(service), self.node.index(NODE_SERVICE)

    async def _made(self, asked: CachedQuery, now: tuple[int, int]) -> tuple[KeptResponse, bool]:
        slicer = TimeSlicer()
        body = await asked.make(slicer)
        took = slicer.worked
        kept = self._kept.last(asked.key)
        # What has no instances has the lowest index there is, which is raised when the node takes a later generation.
        before = 0 if kept is None else kept.index >> _DIGEST_BITS
        is_same = kept is not None and kept.body == body
        changed = max(before, self.node.index(_NOBODYS)) if is_same else max(*now, before + 1)
        index = changed << _DIGEST_BITS | _digest(body)
        return KeptResponse(body, index, now[0], time.monotonic() + (_RESTS * took if took > _QUICK else 0.0)), True

    def settles_in(self) -> float:
        """How long it may still take this node to learn what others offer (seconds); 0 if it knows.

        Until then answers wait: a client that gets an empty list from a restarted agent would drop all instances.
        A node that has no other member is alone, or will learn of one at once.
        """
        age = abs(time.time() - self._began / 1000)
        if age >= settling.SETTLE_SECONDS:
            return 0.0
        is_alone = len(self.node.region_members()) == 1
        return max(0.0, (settling.SETTLE_SECONDS / 10 if is_alone else settling.SETTLE_SECONDS) - age)

    def has(self, asked: CachedQuery) -> bool:
        """Whether the answer is kept, and as it is now."""
        return self._kept.get(asked.key, self._now(asked.service)) is not None

    @staticmethod
    def is_known(kept: KeptResponse, index: int) -> bool:
        """Whether a client that shows ``index`` has this answer, from this agent or from another."""
        return index == kept.index or (index >> _DIGEST_BITS > 0 and (index ^ kept.index) % (1 << _DIGEST_BITS) == 0)

    async def changed(self, asked: CachedQuery, index: int, seconds: float) -> KeptResponse:
        """The answer once a client that shows ``index`` does not know it any more, or the time is over (seconds).

        Raises ``NodeClosed``.
        """
        is_ours = (await self.read(asked)).index == index
        if not is_ours:
            seconds = min(seconds, FOREIGN_WAIT_SECONDS)
        with trio.move_on_after(seconds):
            # Of our own index only the same one is known: a new answer may have the same digest by chance.
            while (kept := await self.read(asked)).index == index or (not is_ours and self.is_known(kept, index)):
                await self.node.wait_changed(asked.service, kept.seen)
                await trio.sleep(max(0.0, kept.rest - time.monotonic()))
        return await self.read(asked)


def _digest(body: bytes) -> int:
    """So many bits that stand for an answer: the same on every agent."""
    return int.from_bytes(hashlib.blake2b(body, digest_size=2).digest()) % (1 << _DIGEST_BITS)
