"""Encoded lookup answers: the same lookup is answered again for next to nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import attrs

from gossipreg.frontends.http import render
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import Instance
from gossipreg.values import frozen

#: Instances in a block of a list. After a change one of them is made of its rows; the others are copied.
_BLOCK_ROWS: Final = 64


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


#: Some consecutive instances of a list, and their rows in JSON, separated by commas.
_Piece = tuple[tuple[Instance, ...], bytes | memoryview]


@frozen(eq=False)
class _Block:
    """Some consecutive instances of a list, and where they are in its body."""

    instances: tuple[Instance, ...]
    start: int
    end: int


@frozen(eq=False)
class ListedInstances:
    """A list of instances in JSON. The next list copies the blocks in which nothing has changed."""

    body: bytes
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
        head, tail = list[_Piece](), list[_Piece]()
        if before is not None:
            head, tail, begin, end = before.unchanged(instances)
        made = [encoded async for encoded in TimeSlicer().over(map(row, instances[begin:end]))]
        size = _BLOCK_ROWS if len(made) > 2 * _BLOCK_ROWS else max(1, len(made))
        starts = range(0, len(made), size)
        middle = [
            (instances[begin + each : min(begin + each + size, end)], b",".join(made[each : each + size]))
            for each in starts
        ]
        pieces = [*head, *middle, *tail]
        opening = b'{"index":%d,"instances":[' % index
        blocks, at = list[_Block](), len(opening)
        for some, encoded in pieces:
            blocks.append(_Block(some, at, at + len(encoded)))
            at += len(encoded) + 1
        # Copied once: each copy of a long list blocks all other tasks for milliseconds.
        texts = [encoded for _, encoded in pieces] or [b""]
        texts[0] = opening + texts[0]
        texts[-1] = bytes(texts[-1]) + b"]}"
        return cls(b",".join(texts), tuple(blocks))

    def unchanged(self, instances: tuple[Instance, ...]) -> tuple[list[_Piece], list[_Piece], int, int]:
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
        body = memoryview(self.body)
        before = list[_Piece]((each.instances, body[each.start : each.end]) for each in head)
        after = list[_Piece]((each.instances, body[each.start : each.end]) for each in reversed(tail))
        return before, after, begin, end


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
    _shared: IndexedCache[bytes] = attrs.field(init=False, factory=lambda: IndexedCache[bytes](math.inf))

    def __attrs_post_init__(self) -> None:
        self._kept = IndexedCache(self._bytes_max)

    async def body(self, asked: LookupQuery) -> bytes:
        """The lookup's answer in JSON, as the node sees it now."""
        index = self.node.index(asked.service)

        async def make() -> tuple[ListedInstances, bool]:
            instances = self.node.lookup(
                asked.service,
                healthy=asked.healthy,
                tag=asked.tag,
                zone=asked.zone,
                role=asked.role,
                panic=asked.panic,
            )
            # What an owner stated may change while the instance, by which blocks are known, does not.
            before = None if asked.stated else self._kept.last(asked)
            row = self._stated if asked.stated else self.rows.of
            listed = await ListedInstances.after(before, index, instances, row)
            # In a panic the node counts its answers, so none is kept.
            return listed, bool(instances) and len(listed) <= self._bytes_max and not asked.panic

        return (await self._kept.fetch(asked, index, make)).body

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
