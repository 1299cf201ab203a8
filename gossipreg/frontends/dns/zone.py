"""The zone: the answer for a name: its records, none of that type, no such name, or a name of another zone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_address
from itertools import chain
from random import Random

import attrs
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype

from gossipreg.durations import parse_duration
from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.dns import limits, names, records
from gossipreg.frontends.dns.choosing import Chosen, Unknown, choose, chosen_in_region, region_in_use
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.record_pools import RecordPool, TypedRecords, WireRecord
from gossipreg.frontends.serving.cache import IndexedCache, SharedCache
from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.prepared_queries import DefinedQueries, QueryInstances, RunQuery
from gossipreg.model import NODE_SERVICE, Address, Instance
from gossipreg.prepared_query import PreparedQuery
from gossipreg.values import frozen

_ANY = dns.rdatatype.ANY
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)

#: A record's owner and the record.
Named = tuple[dns.name.Name, dns.rdata.Rdata]


@frozen
class ZoneReply:
    """The reply to a question. ``read`` are the services that were looked at, each with its index at that time."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answers: tuple[Named, ...] = ()
    authority: tuple[Named, ...] = ()
    additional: tuple[Named, ...] = ()
    pieces: Iterator[WireRecord] | None = attrs.field(
        default=None, eq=False
    )  # answers that are drawn as far as they fit
    read: tuple[tuple[str, int], ...] = ()
    has_orders: bool = False  # the next one may be in another order
    is_kept: bool = True  # whether it is worth caching: the names that do not exist are without number
    awaited: tuple[tuple[str, str], ...] = ()  # services, each with its region, of which it may be known soon


_REFUSED = ZoneReply(dns.rcode.REFUSED, is_kept=False)

#: The reply when the zone cannot know the answer.
FAILED = ZoneReply(dns.rcode.SERVFAIL, is_kept=False)


def _domains(texts: tuple[str, ...]) -> names.Domains:
    return tuple(sorted((dns.name.from_text(text.lower()) for text in texts), key=len, reverse=True))


@attrs.define(eq=False, repr=False)
class Zone:
    """Answers questions from the node's view.

    ``responder`` is where this server listens, ``texts`` are the domains, ``ttl`` is in seconds. Names may say which
    ``datacenter`` is meant: this one, or one of the ``regions`` that the node follows. Of those that do not, what this
    region cannot serve is answered from the next one of ``failover``.
    """

    node: NodeApi
    directory: Directory
    responder: Address
    texts: tuple[str, ...]
    ttl: int
    rng: Random = attrs.field(factory=Random)
    datacenter: str = ""
    regions: tuple[str, ...] = ()
    failover: FailoverList = attrs.field(factory=FailoverList)
    run_query: RunQuery | None = None  # carries out prepared queries; None: there are none
    _queries: DefinedQueries = attrs.field(init=False)
    _query_pools: SharedCache[tuple[QueryInstances, RecordPool]] = attrs.field(init=False)
    _domains: names.Domains = attrs.field(init=False)
    _first: dns.name.Name = attrs.field(init=False)
    _pools: IndexedCache[RecordPool] = attrs.field(init=False)
    _regional: IndexedCache[RecordPool] = attrs.field(init=False)
    _has_joined: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._queries = DefinedQueries(self.node)
        self._domains = _domains(self.texts)
        self._pools = IndexedCache(limits.POOLED_INSTANCES_MAX, lambda pool: pool.size)
        self._regional = IndexedCache(limits.POOLED_INSTANCES_MAX, lambda pool: pool.size)
        self._query_pools = SharedCache(
            limits.POOLED_INSTANCES_MAX, lambda made: max(made[1].size, limits.POOL_COST_MIN)
        )
        self._first = dns.name.from_text(self.texts[0].lower())

    @property
    def negative_ttl(self) -> int:
        """How long a client may remember that something is not there (seconds)."""
        return min(self.ttl, limits.NEGATIVE_TTL_MAX)

    def reply(self, name: dns.name.Name, type_: dns.rdatatype.RdataType, lot: float) -> ZoneReply:
        """The reply for ``name``, in lower case. ``lot``, from 0 up to 1, decides which instance comes first."""
        domain = names.domain_of(name, self._domains)
        if domain is None:
            return self._in_reverse(name, type_)
        if type_ in _TRANSFERS:
            return _REFUSED
        asked = names.asked_below(name, domain, self.datacenter.lower())
        if isinstance(asked, names.ServiceName):
            return self._service(name, domain, type_, asked, lot)
        if isinstance(asked, names.ApexName):
            return self._apex(domain, type_)
        there = self._there(asked)
        if there is None and any(other.is_subdomain(name) for other in self._domains):
            there = []
        if there is None:
            is_node = isinstance(asked, names.NodeName)
            return self._unknown(domain) if is_node else self._elsewhere(name, domain, type_, lot)
        is_kept = not (isinstance(asked, names.EmptyNonTerminal) and asked.is_assumed)
        read = ((NODE_SERVICE, self.node.index(NODE_SERVICE)),) if isinstance(asked, names.NodeName) else ()
        return attrs.evolve(self._found(name, domain, type_, there), is_kept=is_kept, read=read)

    def _there(self, asked: names.Asked | None) -> list[dns.rdata.Rdata] | None:
        """What there is at a name that asks for one thing; None if there is no such thing."""
        match asked:
            case names.EmptyNonTerminal():
                return []
            case names.NameServerName():
                return [records.address(self._own_ip())]
            case names.AddressName(address):
                return [records.address(address)]
            case names.NodeName(member):
                hosts = self.directory.hosts(member)
                if not hosts:
                    return [] if self.directory.is_above_members(member) else None
                return records.addresses(hosts) or records.aliases(hosts)[:1]
            case _:
                return None

    def _apex(self, domain: dns.name.Name, type_: dns.rdatatype.RdataType) -> ZoneReply:
        own = [records.start_of_authority(domain, self.negative_ttl), records.name_server(domain)]
        reply = self._found(domain, domain, type_, own)
        if type_ is not dns.rdatatype.NS:
            return reply
        server = dns.name.Name((b"ns", *domain.labels))
        return attrs.evolve(reply, additional=((server, records.address(self._own_ip())),))

    def _service(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        asked: names.ServiceName,
        lot: float,
    ) -> ZoneReply:
        if asked.is_query and asked.zone is None and self.run_query is not None:
            [(tag, called)] = asked.readings
            query = None if tag else self._queries.find(called)
            if query is not None:
                return self._of_query(name, domain, type_, self._spelled(query), lot)
            # One may be defined at any time.
            return attrs.evolve(self._of_service(name, domain, type_, asked, lot), is_kept=False)
        return self._of_service(name, domain, type_, asked, lot)

    def _spelled(self, query: PreparedQuery) -> PreparedQuery:
        """The query with its service as it is registered, where a template got that from a name in lower case."""
        spellings = list(self.directory.spellings(query.service.lower()))
        if len(spellings) == 1 or not self._queries.is_filled_in(query):
            return query
        spellings = [query.service, *spellings]
        service = next((each for each in spellings if self.node.lookup(each, healthy=False)), query.service)
        return attrs.evolve(query, service=service)

    def _of_query(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        query: PreparedQuery,
        lot: float,
    ) -> ZoneReply:
        """What a prepared query means. It may be changed at any time, so the responder keeps nothing of it."""
        assert self.run_query is not None, "there are queries"
        found = self.run_query(query)
        if found.awaited is not None:
            return attrs.evolve(FAILED, awaited=found.awaited)
        if not found.instances:  # not worth keeping: any client can make up names of which a template makes nothing
            return self._drawn(name, domain, type_, RecordPool((), (), domain, scaled=False, ttl=0), lot)
        stated = parse_duration(query.ttl)
        ttl = self.ttl if stated is None else min(int(stated), limits.TTL_MAX)
        key = (domain, ttl, found.key)
        made = self._query_pools.get(query.id, key)
        if made is None or made[0] is not found:
            written = {} if made is None else made[1].written
            pool = RecordPool(
                (), found.instances, domain, scaled=False, ttl=ttl if found.is_own_region else 0, written=written
            )
            made = found, pool
            self._query_pools.put(query.id, key, made)
        return self._drawn(name, domain, type_, made[1], lot)

    def _of_service(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        asked: names.ServiceName,
        lot: float,
    ) -> ZoneReply:
        if self.failover.regions and asked.zone is None and names.asked_below(name, domain, "") == asked:
            # It names neither a zone nor a datacenter, which would be meant alone.
            region = region_in_use(self.node, self.directory, self.regions, self.failover, asked)
            if isinstance(region, Unknown):
                return attrs.evolve(FAILED, awaited=region.awaited)
            if region is not None:
                return self._in_region(name, domain, type_, asked, lot, region=region)
            return attrs.evolve(self._here(name, domain, type_, asked, lot), is_kept=False)
        return self._here(name, domain, type_, asked, lot)

    def _here(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        asked: names.ServiceName,
        lot: float,
    ) -> ZoneReply:
        pool = self._pool(asked, domain)
        if not pool.exists and not self.directory.is_above_services(asked.suffix):
            return attrs.evolve(self._unknown(domain), read=pool.read)
        if type_ is _ANY:
            return attrs.evolve(self._found(name, domain, type_, []), read=pool.read)
        side = pool.side(type_)
        pieces = self._pieces(side, lot)
        if side is None or pieces is None:
            return attrs.evolve(self._found(name, domain, type_, []), read=pool.read)
        return ZoneReply(pieces=pieces, read=pool.read, has_orders=len(side.instances) > 1)

    def _elsewhere(
        self, name: dns.name.Name, domain: dns.name.Name, type_: dns.rdatatype.RdataType, lot: float
    ) -> ZoneReply:
        """The reply for a name that does not exist here, but may exist in a region that the node follows."""
        match names.asked_elsewhere(name, domain, self.regions):
            case None | (_, None):
                return self._no_name(domain)
            case (region, names.ServiceName() as asked):
                return self._in_region(name, domain, type_, asked, lot, region=region)
            case (_, names.NodeName()):
                return FAILED  # no node is told of another region's nodes
            case (_, asked):
                return attrs.evolve(self._found(name, domain, type_, self._there(asked) or []), is_kept=False)

    def _in_region(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        asked: names.ServiceName,
        lot: float,
        *,
        region: str,
    ) -> ZoneReply:
        pool = self._pool_elsewhere(region, asked, domain)
        if isinstance(pool, Unknown):
            return attrs.evolve(FAILED, awaited=pool.awaited)
        return self._drawn(name, domain, type_, pool, lot)

    def _drawn(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        pool: RecordPool,
        lot: float,
    ) -> ZoneReply:
        """What the responder is not to keep: of another region's service, which no client keeps either, or a query."""
        if not pool.exists:
            return ZoneReply(dns.rcode.NXDOMAIN, authority=_unkept(domain), is_kept=False)
        if type_ is _ANY:
            return attrs.evolve(self._found(name, domain, type_, []), is_kept=False)
        pieces = self._pieces(pool.side(type_), lot)
        if pieces is None:
            return ZoneReply(authority=_unkept(domain), is_kept=False)
        return ZoneReply(pieces=pieces, is_kept=False)

    def _pieces(self, side: TypedRecords | None, lot: float) -> Iterator[WireRecord] | None:
        """The records of one type in a random order, made as they are needed; None if there are none."""
        pieces = iter(()) if side is None else side.draw(self.rng, lot)
        first = next(pieces, None)
        return None if first is None else chain((first,), pieces)

    def _pool_elsewhere(self, region: str, asked: names.ServiceName, domain: dns.name.Name) -> RecordPool | Unknown:
        """The same of another region, as long as nothing but the age of what is known has changed."""
        kept = self._regional.get((region, asked, domain), 0)
        if kept is not None and self._stands_elsewhere(kept, region):
            return kept
        chosen = chosen_in_region(self.node, region, asked)
        if isinstance(chosen, Unknown):
            return chosen
        earlier = self._regional.last((region, asked, domain))
        written = {} if earlier is None else earlier.written
        pool = RecordPool(chosen.read, chosen.able, domain, asked.scaled, 0, chosen.exists, written)
        if pool.able and pool.read:
            self._regional.put((region, asked, domain), 0, pool)
        else:
            self._regional.drop((region, asked, domain))
        return pool

    def _stands_elsewhere(self, pool: RecordPool, region: str) -> bool:
        for service, then in pool.read:
            if self.node.index(service or None, region) != then:
                return False
            if service:
                with suppress(RegionUnavailable):
                    self.node.regional_service(service, region)  # so that it stays followed
        return True

    def _pool(self, asked: names.ServiceName, domain: dns.name.Name) -> RecordPool:
        """The instances that ``asked`` stands for, found out again only if something has changed."""
        key, epoch = (asked, domain), self.directory.epoch
        kept = self._pools.get(key, epoch)
        if kept is not None and self._stands(kept):
            return kept
        pool = self._made(asked, domain, self._pools.last(key))
        if pool.exists:  # the names that do not exist are without number
            self._pools.put(key, epoch, pool)
        else:
            self._pools.drop(key)
        return pool

    def _stands(self, pool: RecordPool) -> bool:
        return all(self.node.index(service) == then for service, then in pool.read)

    def _made(self, asked: names.ServiceName, domain: dns.name.Name, earlier: RecordPool | None) -> RecordPool:
        read: dict[str, int] = {}
        offered: list[Instance] = []
        healthy: list[Instance] = []
        for tag, service in asked.readings:
            for spelling in self.directory.spellings(service):
                if spelling == NODE_SERVICE:  # no service, but what is known of nodes
                    continue
                read[spelling] = self.node.index(spelling)
                offered += self.node.lookup(spelling, healthy=False)
                healthy += self.node.lookup(spelling)
            if offered:
                chosen = choose(offered, healthy, asked.zone, tag)
                break
        else:
            chosen = Chosen([], exists=False)
        written = {} if earlier is None else earlier.written
        return RecordPool(tuple(read.items()), chosen.able, domain, asked.scaled, self.ttl, chosen.exists, written)

    def _found(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        there: list[dns.rdata.Rdata],
    ) -> ZoneReply:
        """The records of the type that was asked for. A question for every type gets the fewest (RFC 8482 §4.2)."""
        if type_ is _ANY:
            return ZoneReply(answers=((name, records.minimal_any()),))
        fitting = tuple((name, each) for each in there if each.rdtype in (type_, dns.rdatatype.CNAME))
        return ZoneReply(answers=fitting) if fitting else ZoneReply(authority=self._soa(domain))

    def _unknown(self, domain: dns.name.Name) -> ZoneReply:
        """The reply about a service or member of this region that the node does not know.

        That there is none is said only by a node that has joined, and hears each cell that may have members: clients
        and resolvers believe it, and remember it.
        """
        self._has_joined = self._has_joined or self.node.info().joined
        is_cut_off = any(each.stale and (each.members or each.age is None) for each in self.node.cells())
        return self._no_name(domain) if self._has_joined and not is_cut_off else FAILED

    def _no_name(self, domain: dns.name.Name) -> ZoneReply:
        return ZoneReply(dns.rcode.NXDOMAIN, authority=self._soa(domain), is_kept=False)

    def _in_reverse(self, name: dns.name.Name, type_: dns.rdatatype.RdataType) -> ZoneReply:
        asked = names.asked_in_reverse(name)
        if asked is None:
            network = names.network_in_reverse(name)
            is_above = network is not None and any(
                ip in network for host in self.directory.addresses() if (ip := records.ip_of(host)) is not None
            )
            return ZoneReply() if is_above else _REFUSED
        members = self.directory.members_at(str(asked.address))
        if not members:
            return _REFUSED
        if type_ is _ANY:
            return ZoneReply(answers=((name, records.minimal_any()),))
        pointers = records.pointers(members, self._first) if type_ is dns.rdatatype.PTR else ()
        return ZoneReply(answers=tuple((name, pointer) for pointer in pointers))

    def _soa(self, domain: dns.name.Name) -> tuple[Named, ...]:
        return ((domain, records.start_of_authority(domain, self.negative_ttl)),)

    def _own_ip(self) -> records.IP:
        own = ip_address(self.responder.host.partition("%")[0])
        return ip_address(self.node.address.host) if own.is_unspecified else own


def _unkept(domain: dns.name.Name) -> tuple[Named, ...]:
    """The authority of an answer that no client may remember."""
    return ((domain, records.start_of_authority(domain, 0)),)
