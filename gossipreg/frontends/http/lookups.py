"""Encoded lookup answers: the same lookup is answered again for next to nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import attrs
import trio

from gossipreg.frontends.http import render
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import Body, ByteChunks, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.model import Instance
from gossipreg.protocol.registry.choose import matching
from gossipreg.values import frozen

#: Instances in a block of a list. After a change one of them is made of its rows; the others are copied.
_BLOCK_ROWS: Final = 64

#: Instances beyond which a step with all of them takes more than a fraction of a millisecond.
_MANY: Final = 4096


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


@frozen(eq=False)
class _Block:
    """Some consecutive instances of a list, and their rows in JSON, separated by commas."""

    instances: tuple[Instance, ...]
    rows: bytes


@frozen(eq=False)
class ListedInstances:
    """A list of instances in JSON. The next list shares the blocks in which nothing has changed.

    A long one is never in one piece: to make one of 30 MB would stop all other tasks for 20 ms.
    """

    body: Body
    _blocks: tuple[_Block, ...] = attrs.field(repr=False)

    def __len__(self) -> int:
        return len(self.body)

    @classmethod
    async def after(
        cls,
        before: ListedInstances | None,
        index: int,
        instances: tuple[Instance, ...],
        row: Callable[[Instance], bytes],
    ) -> ListedInstances:
        """The list of ``instances`` at an ``index``, of which ``row`` makes those that are not in ``before``."""
        begin, end = 0, len(instances)
        head, tail = list[_Block](), list[_Block]()
        if before is not None:
            head, tail, begin, end = before.unchanged(instances)
            if len(instances) > _MANY:
                await trio.lowlevel.checkpoint()
        size = _BLOCK_ROWS if end - begin > 2 * _BLOCK_ROWS else max(1, end - begin)
        middle, rows = list[_Block](), list[bytes]()
        async for made in TimeSlicer().over(map(row, instances[begin:end])):
            rows.append(made)
            if len(rows) == size or begin + len(rows) == end:
                middle.append(_Block(instances[begin : begin + len(rows)], b",".join(rows)))
                begin, rows = begin + len(rows), []
        if len(instances) > _MANY:
            await trio.lowlevel.checkpoint()
        blocks = (*head, *middle, *tail)
        parts = [b'{"index":%d,"instances":[' % index]
        for each in blocks:
            parts += (each.rows, b",")
        parts[-1 if blocks else 1 :] = [b"]}"]  # no comma after the last
        total = sum(map(len, parts))
        return cls(b"".join(parts) if total <= limits.SEND_BYTES else ByteChunks(tuple(parts), total), blocks)

    def unchanged(self, instances: tuple[Instance, ...]) -> tuple[list[_Block], list[_Block], int, int]:
        """The blocks with which ``instances`` begin and end, and from where to where they have others.

        Tuples are compared by identity first, so that this takes microseconds for thousands of instances.
        """
        begin, end, blocks = 0, len(instances), self._blocks
        head, tail = list[_Block](), list[_Block]()
        for block in blocks:
            if instances[begin : begin + len(block.instances)] != block.instances:
                break
            head.append(block)
            begin += len(block.instances)
        for block in reversed(blocks[len(head) :]):
            if end - len(block.instances) < begin or instances[end - len(block.instances) : end] != block.instances:
                break
            tail.append(block)
            end -= len(block.instances)
        if head and 0 < end - begin < _BLOCK_ROWS // 2:  # or blocks would become ever smaller
            begin -= len(head.pop().instances)
        tail.reverse()
        return head, tail, begin, end


@attrs.define(eq=False, repr=False)
class LookupCache:
    """Lookups in their encoded form, each kept for as long as its service's index stands.

    Only lookups that found something are kept: what they can ask for is then bounded by what is registered, and
    no client can fill the cache with names that do not exist. When it is full, the least recently used go first.
    """

    node: NodeApi
    _bytes_max: int = limits.LOOKUP_CACHE_BYTES
    rows: RowCache = attrs.field(factory=RowCache)
    _kept: IndexedCache[ListedInstances] = attrs.field(init=False)
    _shared: IndexedCache[Body] = attrs.field(init=False, factory=lambda: IndexedCache[Body](math.inf))

    def __attrs_post_init__(self) -> None:
        self._kept = IndexedCache(self._bytes_max)

    async def body(self, asked: LookupQuery) -> Body:
        """The lookup's answer in JSON, as the node sees it now."""
        index = self.node.index(asked.service)

        async def make() -> tuple[ListedInstances, bool]:
            instances = await self._found(asked)
            # What an owner stated may change while the instance, by which blocks are known, does not.
            before = None if asked.stated else self._kept.last(asked)
            row = self._stated if asked.stated else self.rows.of
            listed = await ListedInstances.after(before, index, instances, row)
            # In a panic the node counts its answers, so none is kept.
            return listed, bool(instances) and len(listed) <= self._bytes_max and not asked.panic

        return (await self._kept.fetch(asked, index, make)).body

    async def _found(self, asked: LookupQuery) -> tuple[Instance, ...]:
        """The instances that are asked for. Each step with many takes milliseconds, so others have turns between."""
        await decoded(self.node, asked.service)
        every = self.node.lookup(asked.service, healthy=asked.healthy, panic=asked.panic)
        is_filtered = (asked.tag, asked.zone, asked.role) != (None, None, None)
        if len(every) <= _MANY:
            return matching(every, tag=asked.tag, zone=asked.zone, role=asked.role) if is_filtered else every
        await trio.lowlevel.checkpoint()
        if not is_filtered:
            return every
        found = list[Instance]()
        for start in range(0, len(every), _MANY):
            found += matching(every[start : start + _MANY], tag=asked.tag, zone=asked.zone, role=asked.role)
            await trio.lowlevel.checkpoint()
        return tuple(found)

    def _stated(self, instance: Instance) -> bytes:
        """``instance`` as JSON, with the weight that its owner stated."""
        stated = self.node.stated(instance)
        weight = instance.weight if stated is None else stated.weight
        return encode(render.instance(instance) | {"stated_weight": weight})

    async def shared(self, path: str, index: int, make: Callable[[], Awaitable[Body]]) -> Body:
        """What all clients that waited for the same thing are answered: made once for each ``index`` of everything.

        ``path``: of a route, so that there are few of them whatever clients ask.
        """

        async def kept() -> tuple[Body, bool]:
            return await make(), True

        return await self._shared.fetch(path, index, kept)
