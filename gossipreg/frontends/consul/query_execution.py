"""Execution of prepared queries: which instances one means, here or in the first of its regions that has any.

The rule of failover is the node's own (docs/decisions/0085): what differs is which instances count as able to serve.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import attrs

from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import CatalogContext, CatalogInstance
from gossipreg.frontends.consul.local_catalog import Nearness, catalog_of, nearness_to
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prepared_queries import QueryInstances
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.model import NODE_SERVICE, is_name
from gossipreg.prepared_query import PreparedQuery
from gossipreg.regional import RegionInfo
from gossipreg.runtime.regions.failover import Asked, Failovers, RegionalOffer
from gossipreg.values import frozen

#: Queries whose instances are remembered: those that are executed again and again.
_KEPT_MAX: Final = 64

#: The indexes of what a query's instances in this region follow from.
_Stamp = tuple[int, int]

#: What a query means whose service can be none.
_NONE: Final = QueryInstances()

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


@frozen(eq=False)
class FoundInstances:
    """The instances of one region that a query means, with what their rows share."""

    cluster: CatalogContext
    seen: tuple[CatalogInstance, ...]
    failovers: int = 0  # how many regions were tried before, and failed
    age: float = 0.0  # of what is known of another region (seconds)
    stale: bool = False


@frozen(eq=False)
class UnknownInstances:
    """No region that is known has any, and of these services, each with its region, nothing is known yet."""

    awaited: tuple[tuple[str, str], ...]


@attrs.define(eq=False, repr=False)
class QueryRunner:
    """Carries out prepared queries at one node."""

    node: NodeApi
    _datacenter: str = attrs.field(init=False)
    _failovers: Failovers = attrs.field(init=False)
    _asked: dict[Asked, PreparedQuery] = attrs.field(init=False, factory=dict)
    _own: dict[PreparedQuery, tuple[_Stamp, FoundInstances]] = attrs.field(init=False, factory=dict)
    _given: dict[PreparedQuery, tuple[FoundInstances, QueryInstances]] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._datacenter = self.node.region
        self._failovers = Failovers(time.monotonic, self.node.counters)

    def __call__(self, query: PreparedQuery) -> QueryInstances:
        """The instances that ``query`` means, for DNS: with ``near``, the nearest ones alone."""
        if not is_name(query.service):
            return _NONE
        found = self.run(query)
        if isinstance(found, UnknownInstances):
            return QueryInstances(awaited=found.awaited)
        given = self._given.get(query)
        if given is not None and given[0] is found and not query.near:
            return given[1]
        seen = self.by_nearness(found, query.near)
        if query.near and seen:
            rank = self._rank(query.near)
            best = rank(seen[0])
            seen = [each for each in seen if rank(each) == best]
        answer = QueryInstances(
            tuple(each.instance for each in seen), is_own_region=found.cluster.datacenter == self._datacenter
        )
        _keep(self._given, query, (found, answer))
        return answer

    async def warm(self, query: PreparedQuery) -> None:
        """Find this region's instances in time slices, so that `run` has them at once."""
        if not is_name(query.service):
            return
        stamp, cluster = self._stamp(query), self._cluster()
        kept = self._own.get(query)
        if kept is None or kept[0] != stamp:
            await decoded(self.node, query.service)
            found = [each async for each in TimeSlicer().over(self._meant_here(query, cluster)) if each is not None]
            _keep(self._own, query, (stamp, FoundInstances(cluster, tuple(found))))

    def run(self, query: PreparedQuery) -> FoundInstances | UnknownInstances:
        """What ``query`` means now, as far as it is known. Other regions are followed from now on.

        A template that is filled in may be about what no service is called: nothing is kept of that.
        """
        if not is_name(query.service):
            return FoundInstances(CatalogContext(self._datacenter, {}), ())
        own = self._here(query)
        regions = self._regions(query)
        if not regions:
            return own
        there: dict[str, FoundInstances] = {}
        awaited: list[tuple[str, str]] = []
        for place, region in enumerate(regions, start=1):
            if not self._may_have(query.service, region):
                continue  # nothing is followed that does not exist: clients make up names that a template fills in
            try:
                found = self.node.regional_service(query.service, region)
            except RegionUnavailable:
                awaited.append((query.service, region))
                continue
            cluster = CatalogContext(region, found.members)
            seen = cluster.seen(found.instances, found.healthy)
            meant = tuple(each for each in seen if is_meant(query, cluster, each))
            there[region] = FoundInstances(cluster, meant, place, found.age, found.stale)
        offers = [_offer(self._datacenter, own), *(_offer(region, found) for region, found in there.items())]
        if awaited and not any(each.can_serve(0.0) for each in offers):
            return UnknownInstances(tuple(awaited))
        asked = (query.service, tuple(regions), 0.0, f"query {query.name or query.id}", ", ".join(query.tags) or None)
        definition = attrs.evolve(query, near="")
        if self._asked.get(asked, definition) != definition:
            self._failovers.forget(asked)  # what could serve by an earlier definition says nothing of this one
        _keep(self._asked, asked, definition)
        chosen = self._failovers.choose(asked, offers)
        return there.get(chosen.region, own)

    def by_nearness(self, found: FoundInstances, near: str) -> list[CatalogInstance]:
        """The instances of this region that are nearest to the node ``near`` first; others as they come."""
        if not near or found.cluster.datacenter != self._datacenter:
            return list(found.seen)
        return sorted(found.seen, key=self._rank(near))

    def _rank(self, near: str) -> Callable[[CatalogInstance], Nearness]:
        nearness = nearness_to(self.node, near)
        return lambda seen: nearness(seen.instance.owner, seen.instance.zone)

    def _here(self, query: PreparedQuery) -> FoundInstances:
        stamp, kept = self._stamp(query), self._own.get(query)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        cluster = self._cluster()
        found = FoundInstances(cluster, tuple(each for each in self._meant_here(query, cluster) if each is not None))
        _keep(self._own, query, (stamp, found))
        return found

    def _cluster(self) -> CatalogContext:
        return catalog_of(self.node, self._datacenter)

    def _meant_here(self, query: PreparedQuery, cluster: CatalogContext) -> Iterator[CatalogInstance | None]:
        if query.service == NODE_SERVICE:
            return
        node = self.node
        for each in cluster.seen(node.lookup(query.service, healthy=False), node.lookup(query.service)):
            yield each if is_meant(query, cluster, each) else None

    def _stamp(self, query: PreparedQuery) -> _Stamp:
        return self.node.index(query.service), self.node.index(NODE_SERVICE)

    def _regions(self, query: PreparedQuery) -> list[str]:
        """The other regions that are tried, in order. Those that this node does not know are left out, as by Consul."""
        if not query.nearest and not query.regions:
            return []
        known = {each.name.lower(): each for each in self.node.regions() if not each.own}
        nearest = sorted(known.values(), key=_distance)[: query.nearest]
        listed = (known[name.lower()] for name in query.regions if name.lower() in known)
        return list(dict.fromkeys(each.name for each in (*nearest, *listed)))

    def _may_have(self, service: str, region: str) -> bool:
        try:
            return service in self.node.regional_directory(region).services
        except RegionUnavailable:
            return True


def is_meant(query: PreparedQuery, cluster: CatalogContext, seen: CatalogInstance) -> bool:
    """Whether an instance of the query's service is one that it means, and can serve."""
    instance = seen.instance
    tags = {tag.lower() for tag in instance.tags}
    for wanted in query.tags:
        if (wanted.removeprefix("!").lower() in tags) == wanted.startswith("!"):
            return False
    if query.service_meta and not _has_all(catalog_rows.service(instance)["Meta"], query.service_meta.items()):
        return False
    if query.node_meta and not _has_all(cluster.node_of(seen)["Meta"], query.node_meta.items()):
        return False
    ignored = query.ignored_checks
    state = catalog_rows.worst(each for each in cluster.checks(seen) if each["CheckID"] not in ignored)
    return state == catalog_rows.PASSING or (state == catalog_rows.WARNING and not query.only_passing)


def _has_all(meta: dict[str, str], wanted: Iterable[tuple[str, str]]) -> bool:
    return all(meta.get(name) == value for name, value in wanted)


def _offer(region: str, found: FoundInstances) -> RegionalOffer:
    return RegionalOffer(region, tuple(each.instance for each in found.seen), stale=found.stale)


def _distance(region: RegionInfo) -> tuple[bool, int, str]:
    """Round trips count as equal within a factor of two, so that the order does not change with each of them."""
    trip = region.round_trip
    return region.stale or trip is None, math.ceil(math.log2(max(trip or 0.0, 0.001))), region.name


def _keep(kept: dict[_Key, _Kept], key: _Key, value: _Kept) -> None:
    if key not in kept and len(kept) >= _KEPT_MAX:
        kept.clear()
    kept[key] = value
