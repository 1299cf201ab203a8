"""Knows how to answer the same lookup again for next to nothing."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from gossipreg.doors.http import limits, render
from gossipreg.doors.http.answers import encode
from gossipreg.doors.http.registry import Registry


@attrs.frozen
class Lookup:
    """What is asked of one service: which of its instances."""

    service: str
    healthy: bool = True
    tag: str | None = None
    zone: str | None = None
    role: str | None = None
    panic: float = 0.0  # see `Node.lookup`


@attrs.define(eq=False, repr=False)
class Lookups:
    """Lookups in their encoded form, each kept for as long as its service's index stands.

    Only lookups that found something are kept: what they can ask for is then bounded by what is registered, and
    nobody can fill the cache with names that do not exist. When it is full, the ones kept longest give way.
    """

    _node: Registry
    _bytes_max: int = limits.LOOKUP_CACHE_BYTES
    _kept: dict[Lookup, tuple[int, bytes]] = attrs.field(init=False, factory=dict)
    _bytes: int = attrs.field(init=False, default=0)
    _shared: dict[str, tuple[int, bytes]] = attrs.field(init=False, factory=dict)

    def body(self, asked: Lookup) -> bytes:
        """The lookup's answer in JSON, as the node sees it now."""
        index = self._node.index(asked.service)
        kept = self._kept.get(asked)
        if kept is not None and kept[0] == index:
            return kept[1]
        instances = self._node.lookup(
            asked.service,
            healthy=asked.healthy,
            tag=asked.tag,
            zone=asked.zone,
            role=asked.role,
            panic=asked.panic,
        )
        body = encode(render.lookup(index, instances))
        self._forget(asked)
        if instances and len(body) <= self._bytes_max and not asked.panic:  # the node counts answers in a panic
            self._keep(asked, index, body)
        return body

    def shared(self, target: str, index: int, make: Callable[[], bytes]) -> bytes:
        """What all who waited for the same thing are answered: it is made once for each ``index`` of everything."""
        if self._shared.get(target, (None, b""))[0] != index:
            self._shared = {known: kept for known, kept in self._shared.items() if kept[0] == index}
            self._shared[target] = (index, make())
        return self._shared[target][1]

    def _keep(self, asked: Lookup, index: int, body: bytes) -> None:
        while self._bytes + len(body) > self._bytes_max:
            self._forget(next(iter(self._kept)))
        self._kept[asked] = (index, body)
        self._bytes += len(body)

    def _forget(self, asked: Lookup) -> None:
        _, body = self._kept.pop(asked, (0, b""))
        self._bytes -= len(body)
