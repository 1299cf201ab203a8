"""The row cache: each service's part of the answers about all services, made again only when the service changes.

Clients that follow everything ask for such answers. When one service of thousands changes, only its part is made again.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from gossipreg.frontends.consul.catalog_rows import CatalogContext
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import encode
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.values import frozen


@frozen
class ServiceRows:
    """One service at one moment."""

    index: int
    tags: tuple[str, ...]  # of any of its instances, sorted
    checks: bytes  # the rows of its instances' checks in JSON, separated by commas
    avoided: frozenset[str]  # members whose instances lookups leave alone


@attrs.define(eq=False, repr=False)
class ServiceRowCache:
    """Every service that there is."""

    node: NodeApi
    _kept: dict[str, ServiceRows] = attrs.field(init=False, factory=dict)

    async def all(self, cluster: CatalogContext, slicer: TimeSlicer) -> dict[str, ServiceRows]:
        """The pieces by their services' names, as they are now."""
        service_rows: dict[str, ServiceRows] = {}
        async for _ in slicer.over(self._made(cluster, service_rows)):
            pass
        self._kept = service_rows
        return service_rows

    def _made(self, cluster: CatalogContext, into: dict[str, ServiceRows]) -> Iterator[None]:
        """Put the pieces ``into`` a table, one small step after the other."""
        for name in self.node.services():
            kept = self._kept.get(name)
            if kept is not None and kept.index == self.node.index(name):
                into[name] = kept
                yield
            else:
                yield from self._piece(name, cluster, into)

    def _piece(self, name: str, cluster: CatalogContext, into: dict[str, ServiceRows]) -> Iterator[None]:
        yield from self.node.decode(name)
        index = self.node.index(name)
        tags: set[str] = set()
        checks: list[bytes] = []
        avoided: set[str] = set()
        for each in cluster.seen(self.node.lookup(name, healthy=False), self.node.lookup(name)):
            tags.update(each.instance.tags)
            checks += map(encode, cluster.own_checks(each.instance))
            if not each.reachable:
                avoided.add(each.instance.owner)
            yield
        into[name] = ServiceRows(index, tuple(sorted(tags)), b",".join(checks), frozenset(avoided))
