"""Execution of prepared queries: which instances one means, here or in the first of its regions that has any.

Theory of operation. Any client of DNS may ask, and under any name that a template means. So what was found of a service
in one region stands until that service changes there. The same object is given again, so that a frontend knows that
what it made of it stands, too. Tags that no instance has are left out of what is looked for, so that a name that a
client makes up means what was found before. Other regions are looked into only where this one cannot serve, or where
another one is in use.

The rule of failover is the node's own (docs/decisions/0085): what differs is which instances count as able to serve.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Iterable
from contextlib import suppress
from functools import cached_property
from typing import Final, TypeVar

import attrs

from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.consul import catalog_rows
from gossipreg.frontends.consul.catalog_rows import CatalogContext, CatalogInstance, node_name
from gossipreg.frontends.consul.local_catalog import Nearness, catalog_of, nearness_to
from gossipreg.frontends.serving.cache import IndexedCache, SharedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prepared_queries import QueryInstances
from gossipreg.frontends.serving.time_slices import TimeSlicer, decoded
from gossipreg.model import NODE_REASON, NODE_SERVICE, Instance, is_name
from gossipreg.prepared_query import PreparedQuery
from gossipreg.regional import RegionInfo
from gossipreg.runtime.regions.failover import Asked, Failovers, RegionalOffer
from gossipreg.values import frozen

#: Instances that are held in what is kept of services and of queries, each in as many as mean it: some 100 bytes each.
_INSTANCES_MAX: Final = 100_000

#: For so many instances what one query means counts at least.
_COST_MIN: Final = 50

#: Failovers whose definition is remembered: those that are asked for again and again.
_ASKED_MAX: Final = 64

#: How long the nearest instances stand (seconds): round trips change with each probe. And from how many nodes.
_NEAREST_SECONDS: Final = 1.0
_NEAREST_MAX: Final = 16

#: What a query means whose service can be none.
_NONE: Final = QueryInstances()

#: What an instance must be: tags, whether warnings count, checks that don't, meta of its node and its own.
_Wanted = tuple[frozenset[str], bool, tuple[str, ...], tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]

_Returned = TypeVar("_Returned")


@attrs.define(eq=False, repr=False)
class ServiceInstances:
    """The instances of a service in one region, as of its index there."""

    cluster: CatalogContext
    index: Hashable
    nodes_index: int = 0  # of what nodes state of themselves
    needs_nodes: bool = False  # whether what its instances can do follows from that
    seen: list[CatalogInstance] = attrs.field(factory=list)
    tags: set[str] = attrs.field(factory=set)  # in lower case

    def add(self, seen: CatalogInstance) -> None:
        """Know one more."""
        instance = seen.instance
        self.seen.append(seen)
        self.tags.update(map(str.lower, instance.tags))
        self.needs_nodes = (
            self.needs_nodes
            or instance.reason.startswith(NODE_REASON)
            or node_name(instance) != instance.owner
            or self.cluster.has_node_checks(instance.owner)
        )

    def wanted(self, query: PreparedQuery) -> _Wanted | None:
        """What ``query`` asks for, without what holds for all; None if it holds for none."""
        tags = set()
        for each in map(str.lower, query.tags):
            if each.removeprefix("!") in self.tags:
                tags.add(each)
            elif not each.startswith("!"):
                return None
        meta = (tuple(sorted(of.items())) for of in (query.node_meta, query.service_meta))
        return frozenset(tags), query.only_passing, query.ignored_checks, *meta  # type: ignore[return-value] # of two


@attrs.define(eq=False, repr=False)
class MeantInstances:
    """The instances of one region that a query means, the same object as long as they are the same."""

    of: ServiceInstances
    key: Hashable
    is_own_region: bool
    seen: tuple[CatalogInstance, ...]
    nearest: OrderedDict[str, tuple[float, QueryInstances]] = attrs.field(factory=OrderedDict)  # by node, with when

    @cached_property
    def answer(self) -> QueryInstances:
        """All of them."""
        return QueryInstances(tuple(each.instance for each in self.seen), self.key, self.is_own_region)

    @cached_property
    def serving(self) -> tuple[Instance, ...]:
        """One that can take work, if any can: as much as failover without a threshold asks for."""
        able = (each.instance for each in self.seen if each.instance.weight and each.instance.is_callable)
        first = next(able, None)
        return () if first is None else (first,)


@frozen(eq=False)
class FoundInstances:
    """The instances of one region that a query means, and how that region came to be the one."""

    meant: MeantInstances
    failovers: int = 0  # how many regions were tried before, and failed
    age: float = 0.0  # of what is known of another region (seconds)
    stale: bool = False

    @property
    def cluster(self) -> CatalogContext:
        """What the rows share."""
        return self.meant.of.cluster

    @property
    def seen(self) -> tuple[CatalogInstance, ...]:
        """The instances."""
        return self.meant.seen


@frozen(eq=False)
class UnknownInstances:
    """No region that is known has any, and of these services, each with its region, nothing is known yet."""

    awaited: tuple[tuple[str, str], ...]


@attrs.define(eq=False, repr=False)
class QueryRunner:
    """Carries out prepared queries at one node. ``shows_nodes``: what nodes state of themselves is shown, too."""

    node: NodeApi
    shows_nodes: bool = False
    _datacenter: str = attrs.field(init=False)
    _failovers: Failovers = attrs.field(init=False)
    _nothing: MeantInstances = attrs.field(init=False)
    _asked: OrderedDict[Asked, PreparedQuery] = attrs.field(init=False, factory=OrderedDict)
    _services: IndexedCache[ServiceInstances] = attrs.field(init=False)
    _meant: SharedCache[MeantInstances] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._datacenter = self.node.region
        self._failovers = Failovers(time.monotonic, self.node.counters)
        self._nothing = self._empty(ServiceInstances(CatalogContext(self._datacenter, {}), 0))
        self._services = IndexedCache(_INSTANCES_MAX, lambda found: len(found.seen) + _COST_MIN)
        self._meant = SharedCache(_INSTANCES_MAX, lambda found: max(len(found.seen), _COST_MIN))

    def __call__(self, query: PreparedQuery) -> QueryInstances:
        """The instances that ``query`` means, for DNS: with ``near``, the nearest ones alone."""
        if not is_name(query.service):
            return _NONE
        found = self.run(query)
        if isinstance(found, UnknownInstances):
            return QueryInstances(awaited=found.awaited)
        meant = found.meant
        return self._nearest(meant, query.near) if query.near and meant.is_own_region else meant.answer

    async def warm(self, query: PreparedQuery) -> None:
        """Find this region's instances in time slices, so that `run` has them at once."""
        if is_name(query.service):
            await decoded(self.node, query.service)
            async for _ in TimeSlicer().over(self._finding_here(query)):
                pass

    def run(self, query: PreparedQuery) -> FoundInstances | UnknownInstances:
        """What ``query`` means now, as far as it is known. Other regions are followed from now on.

        A template that is filled in may be about what no service is called: nothing is kept of that.
        """
        if not is_name(query.service):
            return FoundInstances(self._nothing)
        own = _returned(self._finding_here(query))
        regions = self._regions(query)
        if not regions:
            return FoundInstances(own)
        asked = (query.service, tuple(regions), 0.0, f"query {query.name or query.id}", ", ".join(query.tags) or None)
        if own.serving and self._failovers.used(asked) in ("", self._datacenter):
            for region in regions:
                if self._may_have(query.service, region):
                    with suppress(RegionUnavailable):
                        self.node.regional_service(query.service, region)  # so that it stays followed
            return FoundInstances(own)
        there: dict[str, FoundInstances] = {}
        awaited: list[tuple[str, str]] = []
        for place, region in enumerate(regions, start=1):
            if not self._may_have(query.service, region):
                continue  # nothing is followed that does not exist: clients make up names that a template fills in
            try:
                there[region] = self._elsewhere(query, region, place)
            except RegionUnavailable:
                awaited.append((query.service, region))
        offers = [RegionalOffer(self._datacenter, own.serving)]
        offers += (RegionalOffer(region, found.meant.serving, stale=found.stale) for region, found in there.items())
        if awaited and not any(each.can_serve(0.0) for each in offers):
            return UnknownInstances(tuple(awaited))
        definition = attrs.evolve(query, near="")
        if self._asked.pop(asked, definition) != definition:
            self._failovers.forget(asked)  # what could serve by an earlier definition says nothing of this one
        self._asked[asked] = definition
        if len(self._asked) > _ASKED_MAX:
            self._asked.popitem(last=False)
        chosen = self._failovers.choose(asked, offers)
        return there.get(chosen.region) or FoundInstances(own)

    def by_nearness(self, found: FoundInstances, near: str) -> list[CatalogInstance]:
        """The instances of this region that are nearest to the node ``near`` first; others as they come."""
        if not near or found.cluster.datacenter != self._datacenter:
            return list(found.seen)
        return sorted(found.seen, key=self._rank(near))

    def _nearest(self, meant: MeantInstances, near: str) -> QueryInstances:
        now, kept = time.monotonic(), meant.nearest.get(near)
        if kept is not None and now - kept[0] < _NEAREST_SECONDS:
            return kept[1]
        if not meant.seen or (near != "_agent" and all(each.name != near for each in self.node.region_members())):
            return meant.answer
        ranks = list(map(self._rank(near), meant.seen))
        best = min(ranks)
        able = tuple(each.instance for each, rank in zip(meant.seen, ranks, strict=True) if rank == best)
        answer = QueryInstances(able, (meant.key, near)) if kept is None or kept[1].instances != able else kept[1]
        meant.nearest[near] = now, answer
        if len(meant.nearest) > _NEAREST_MAX:
            meant.nearest.popitem(last=False)
        return answer

    def _rank(self, near: str) -> Callable[[CatalogInstance], Nearness]:
        nearness, ranks = nearness_to(self.node, near), dict[tuple[str, str], Nearness]()

        def rank(seen: CatalogInstance) -> Nearness:
            place = seen.instance.owner, seen.instance.zone
            if place not in ranks:
                ranks[place] = nearness(*place)
            return ranks[place]

        return rank

    def _finding_here(self, query: PreparedQuery) -> Generator[None, None, MeantInstances]:
        """Find what ``query`` means in this region, a little at each step."""
        node, service = self.node, query.service
        if service == NODE_SERVICE:  # no service, but what is known of nodes
            return self._nothing
        kept, index, nodes_index = self._services.last((service, "")), node.index(service), node.index(NODE_SERVICE)
        if kept is None or not self._stands(kept, query, index, nodes_index):
            every = node.lookup(service, healthy=False)
            if not every:
                self._services.drop((service, ""))
                return self._nothing
            kept = ServiceInstances(catalog_of(node, self._datacenter), index, nodes_index)
            for each in kept.cluster.seen(every, node.lookup(service)):
                kept.add(each)
                yield
            self._services.put((service, ""), None, kept)
        self._services.get((service, ""), None)  # it is in use
        return (yield from self._choosing(query, kept))

    def _stands(self, kept: ServiceInstances, query: PreparedQuery, index: int, nodes_index: int) -> bool:
        """Whether what is kept of a service is as it is now. What nodes state changes often, and seldom matters."""
        if kept.index != index:
            return False
        return kept.nodes_index == nodes_index or not (self.shows_nodes or kept.needs_nodes or query.node_meta)

    def _elsewhere(self, query: PreparedQuery, region: str, place: int) -> FoundInstances:
        """The same in another region. Raises ``RegionUnavailable``."""
        found, key = self.node.regional_service(query.service, region), (query.service, region)
        kept = self._services.get(key, (found.index, found.stale))
        if kept is None:
            kept = ServiceInstances(CatalogContext(region, found.members), found.index)
            for each in kept.cluster.seen(found.instances, found.healthy):
                kept.add(each)
            if kept.seen:
                self._services.put(key, (found.index, found.stale), kept)
        return FoundInstances(_returned(self._choosing(query, kept)), place, found.age, found.stale)

    def _choosing(self, query: PreparedQuery, among: ServiceInstances) -> Generator[None, None, MeantInstances]:
        wanted = among.wanted(query)
        if wanted is None or not among.seen:
            return self._empty(among)
        region = among.cluster.datacenter
        key = (query.service, region, wanted)
        kept = self._meant.get(query.id, key)
        if kept is None or kept.of is not among:
            meant = []
            for each in among.seen:
                if is_meant(wanted, among.cluster, each):
                    meant.append(each)
                yield
            kept = MeantInstances(among, key, region == self._datacenter, tuple(meant))
            self._meant.put(query.id, key, kept)
        return kept

    def _empty(self, among: ServiceInstances) -> MeantInstances:
        return MeantInstances(among, None, among.cluster.datacenter == self._datacenter, ())

    def _regions(self, query: PreparedQuery) -> list[str]:
        """The other regions that are tried, in order. Those that this node does not know are left out, as by Consul."""
        if query.service == NODE_SERVICE or (not query.nearest and not query.regions):
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


def is_meant(wanted: _Wanted, cluster: CatalogContext, seen: CatalogInstance) -> bool:
    """Whether an instance is as it is wanted, and can serve."""
    wanted_tags, only_passing, ignored, node_meta, service_meta = wanted
    instance = seen.instance
    if wanted_tags:
        tags = {tag.lower() for tag in instance.tags}
        if any((each.removeprefix("!") in tags) == each.startswith("!") for each in wanted_tags):
            return False
    if service_meta and not _has_all(catalog_rows.service(instance)["Meta"], service_meta):
        return False
    if node_meta and not _has_all(cluster.node_of(seen)["Meta"], node_meta):
        return False
    if ignored:
        state = catalog_rows.worst(each for each in cluster.checks(seen) if each["CheckID"] not in ignored)
    else:
        state = cluster.state(seen)
    return state == catalog_rows.PASSING or (state == catalog_rows.WARNING and not only_passing)


def _has_all(meta: dict[str, str], wanted: Iterable[tuple[str, str]]) -> bool:
    return all(meta.get(name) == value for name, value in wanted)


def _returned(steps: Generator[None, None, _Returned]) -> _Returned:
    """What a generator returns after all of its steps."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: _Returned = end.value
            return found


def _distance(region: RegionInfo) -> tuple[bool, int, str]:
    """Round trips count as equal within a factor of two, so that the order does not change with each of them."""
    trip = region.round_trip
    return region.stale or trip is None, math.ceil(math.log2(max(trip or 0.0, 0.001))), region.name
