"""Encoded lookup answers: the same lookup is answered again for next to nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import attrs

from gossipreg.frontends.http import render
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Instance
from gossipreg.values import frozen


@frozen
class LookupQuery:
    """What is asked of one service: which of its instances."""

    service: str
    healthy: bool = True
    tag: str | None = None
    zone: str | None = None
    role: str | None = None
    panic: float = 0.0  # see `Node.lookup`
    stated: bool = False  # with the weight that each owner stated, which costs more: for people, not for programs


@attrs.define(eq=False, repr=False)
class RowCache:
    """Instances as JSON, kept from one list to the next while they stay the same.

    Known by identity: nodes hand out the same instance for as long as it is the same, and hashing it costs more than
    writing it. Kept in two halves: when the young one is full it becomes the old one, and what the old one held and no
    list has asked for since is dropped.
    """

    _bytes_max: int = limits.ROW_CACHE_BYTES
    _young: dict[int, tuple[Instance, bytes]] = attrs.field(init=False, factory=dict)
    _old: dict[int, tuple[Instance, bytes]] = attrs.field(init=False, factory=dict)
    _bytes: int = attrs.field(init=False, default=0)  # of the young half

    def of(self, instance: Instance) -> bytes:
        """``instance`` as JSON."""
        kept = self._young.get(id(instance))
        if kept is not None:
            return kept[1]
        kept = self._old.get(id(instance)) or (instance, encode(render.instance(instance)))
        if self._bytes > self._bytes_max // 2:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[id(instance)] = kept  # with the instance, so that no other can have its id
        self._bytes += len(kept[1])
        return kept[1]


@attrs.define(eq=False, repr=False)
class LookupCache:
    """Lookups in their encoded form, each kept for as long as its service's index stands.

    Only lookups that found something are kept: what they can ask for is then bounded by what is registered, and
    no client can fill the cache with names that do not exist. When it is full, the least recently used go first.
    """

    node: NodeApi
    _bytes_max: int = limits.LOOKUP_CACHE_BYTES
    rows: RowCache = attrs.field(factory=RowCache)
    _kept: IndexedCache[bytes] = attrs.field(init=False)
    _shared: IndexedCache[bytes] = attrs.field(init=False, factory=lambda: IndexedCache[bytes](math.inf))

    def __attrs_post_init__(self) -> None:
        self._kept = IndexedCache(self._bytes_max)

    async def body(self, asked: LookupQuery) -> bytes:
        """The lookup's answer in JSON, as the node sees it now."""
        index = self.node.index(asked.service)

        async def make() -> tuple[bytes, bool]:
            instances = self.node.lookup(
                asked.service,
                healthy=asked.healthy,
                tag=asked.tag,
                zone=asked.zone,
                role=asked.role,
                panic=asked.panic,
            )
            row = self._stated if asked.stated else self.rows.of
            body = b'{"index":%d,"instances":%b}' % (index, await TimeSlicer().joined(map(row, instances)))
            # In a panic the node counts its answers, so none is kept.
            return body, bool(instances) and len(body) <= self._bytes_max and not asked.panic

        return await self._kept.fetch(asked, index, make)

    def _stated(self, instance: Instance) -> bytes:
        """``instance`` as JSON, with the weight that its owner stated."""
        stated = self.node.stated(instance)
        weight = instance.weight if stated is None else stated.weight
        return encode(render.instance(instance) | {"stated_weight": weight})

    async def shared(self, path: str, index: int, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """What all clients that waited for the same thing are answered: made once for each ``index`` of everything.

        ``path``: of a route, so that there are few of them whatever clients ask.
        """

        async def kept() -> tuple[bytes, bool]:
            return await make(), True

        return await self._shared.fetch(path, index, kept)
