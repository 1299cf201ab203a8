"""Knows how a query is answered again for next to nothing, and how many wait for its answer to change.

An answer is written down once for all who ask the same thing. It is looked at again when the index that it hangs on has
moved: a service's, or that of everything. If the same bytes come of it, its own index stays; so a query is not woken by
what it does not show. Own indexes never fall: they are taken from the one that moved last.

What is not kept any more, because others are asked for more often, gets the index that stands when it is next asked
for: a client is told once too often what it knows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final

import attrs
import trio

from gossipreg.doors.http.answers import encode
from gossipreg.doors.http.registry import Registry

#: Answers kept (bytes), and how many: a thousand services of ordinary size.
_BYTES_MAX: Final = 8 * 1024 * 1024
_ANSWERS_MAX: Final = 4096


@attrs.frozen
class Asked:
    """One query: the service whose index it hangs on, or None for everything, what makes it one, and its answer."""

    service: str | None
    key: Hashable
    make: Callable[[], Any]


@attrs.frozen
class Kept:
    """An answer, the index at which it changed last, and the one at which it was last looked at."""

    body: bytes
    index: int
    seen: int


@attrs.define(eq=False)
class Shelf:
    """The answers of one node to Consul's clients."""

    node: Registry
    _began: int = attrs.field(init=False)
    _kept: OrderedDict[Hashable, Kept] = attrs.field(init=False, factory=OrderedDict)
    _bytes: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        self._began = self.node.info().generation  # ms since the epoch: above all that an earlier life has counted

    def read(self, asked: Asked) -> Kept:
        """The answer as it is now."""
        now = self._index(asked.service)
        kept = self._kept.get(asked.key)
        if kept is not None and kept.seen == now:
            self._kept.move_to_end(asked.key)
            return kept
        body = encode(asked.make())
        kept = Kept(body, now if kept is None or kept.body != body else kept.index, now)
        self._keep(asked.key, kept)
        return kept

    async def changed(self, asked: Asked, index: int, seconds: float) -> Kept:
        """The answer once its index is not ``index`` any more, or the time is over (seconds). Raises ``NodeClosed``."""
        with trio.move_on_after(seconds):
            while (kept := self.read(asked)).index == index:
                await self.node.wait_changed(asked.service, kept.seen - self._offset(asked.service))
        return self.read(asked)

    def _offset(self, service: str | None) -> int:
        """A service's index has begun at the node's birth already; that of everything begins at 0."""
        return self._began if service is None else 0

    def _index(self, service: str | None) -> int:
        return self.node.index(service) + self._offset(service)

    def _keep(self, key: Hashable, kept: Kept) -> None:
        before = self._kept.pop(key, None)
        self._bytes += len(kept.body) - (0 if before is None else len(before.body))
        self._kept[key] = kept
        while len(self._kept) > 1 and (self._bytes > _BYTES_MAX or len(self._kept) > _ANSWERS_MAX):
            self._bytes -= len(self._kept.popitem(last=False)[1].body)
