"""The zone: what there is to say about a name, be it records, nothing of that type, no such name, or not ours."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import chain
from random import Random

import attrs
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype

from gossipreg.frontends.dns import limits, names, records
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.record_pools import RecordPool, WireRecord
from gossipreg.frontends.serving.cache import IndexedCache
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.model import Address, Health, Instance

_ANY = dns.rdatatype.ANY
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)

#: Looked up faster than `Health.can_serve` is called: it is asked of every instance of a service after each change.
_SERVING = frozenset(each for each in Health if each.can_serve)

#: A record's owner and the record.
Named = tuple[dns.name.Name, dns.rdata.Rdata]


@attrs.frozen
class ZoneReply:
    """What is to be said. ``read`` are the services that were looked at, each with its index at that time."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answers: tuple[Named, ...] = ()
    authority: tuple[Named, ...] = ()
    additional: tuple[Named, ...] = ()
    pieces: Iterator[WireRecord] | None = attrs.field(
        default=None, eq=False
    )  # answers that are drawn as far as they fit
    read: tuple[tuple[str, int], ...] = ()
    has_orders: bool = False  # the next one may be in another order


def _domains(texts: tuple[str, ...]) -> names.Domains:
    return tuple(sorted((dns.name.from_text(text.lower()) for text in texts), key=len, reverse=True))


@attrs.define(eq=False, repr=False)
class Zone:
    """Answers questions from the node's view. ``ttl`` is in seconds; ``own`` is where this server listens."""

    node: NodeApi
    directory: Directory
    responder: Address
    texts: tuple[str, ...]
    ttl: int
    rng: Random = attrs.field(factory=Random)
    _domains: names.Domains = attrs.field(init=False)
    _first: dns.name.Name = attrs.field(init=False)
    _pools: IndexedCache[RecordPool] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._domains = _domains(self.texts)
        self._pools = IndexedCache(limits.POOLED_INSTANCES_MAX, lambda pool: pool.size)
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
            return ZoneReply(dns.rcode.REFUSED)
        asked = names.asked_below(name, domain)
        if isinstance(asked, names.ServiceName):
            return self._service(name, domain, type_, asked, lot)
        if isinstance(asked, names.ApexName):
            return self._apex(domain, type_)
        there = self._there(asked)
        return self._nobody(domain) if there is None else self._found(name, domain, type_, there)

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
                return records.addresses(self.directory.hosts(member)) or None
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
        pool = self._pool(asked, domain)
        if not pool.exists:
            return attrs.evolve(self._nobody(domain), read=pool.read)
        if type_ is _ANY:
            return attrs.evolve(self._found(name, domain, type_, []), read=pool.read)
        side = pool.side(type_)
        pieces = iter(()) if side is None else side.draw(self.rng, lot)
        first = next(pieces, None)
        if side is None or first is None:
            return attrs.evolve(self._found(name, domain, type_, []), read=pool.read)
        return ZoneReply(pieces=chain((first,), pieces), read=pool.read, has_orders=len(side.instances) > 1)

    def _pool(self, asked: names.ServiceName, domain: dns.name.Name) -> RecordPool:
        """The instances that ``asked`` stands for, found out again only if something has changed."""
        key, epoch = (asked, domain), self.directory.epoch
        kept = self._pools.get(key, epoch)
        if kept is not None and self._stands(kept):
            return kept
        pool = self._made(asked, domain)
        if pool.exists:  # what does not exist is not kept: there is no end of it
            self._pools.put(key, epoch, pool)
        else:
            self._pools.drop(key)
        return pool

    def _stands(self, pool: RecordPool) -> bool:
        return all(self.node.index(service) == then for service, then in pool.read)

    def _made(self, asked: names.ServiceName, domain: dns.name.Name) -> RecordPool:
        read: dict[str, int] = {}
        offered: list[Instance] = []
        for tag, service in asked.readings:
            for spelling in self.directory.spellings(service):
                read[spelling] = self.node.index(spelling)
                offered += self.node.lookup(spelling, healthy=False)
            if offered:
                if tag or asked.zone is not None:
                    offered = [each for each in offered if _is_asked_for(each, tag, asked.zone)]
                break
        able = [each for each in offered if each.health in _SERVING and each.weight]
        return RecordPool(tuple(read.items()), able, domain, asked.scaled, self.ttl, exists=bool(offered))

    def _found(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        there: list[dns.rdata.Rdata],
    ) -> ZoneReply:
        """Those of what is there that are of the type. A question for every type gets the least (RFC 8482 §4.2)."""
        if type_ is _ANY:
            return ZoneReply(answers=((name, records.minimal_any()),))
        fitting = tuple((name, each) for each in there if each.rdtype is type_)
        return ZoneReply(answers=fitting) if fitting else ZoneReply(authority=self._soa(domain))

    def _nobody(self, domain: dns.name.Name) -> ZoneReply:
        return ZoneReply(dns.rcode.NXDOMAIN, authority=self._soa(domain))

    def _in_reverse(self, name: dns.name.Name, type_: dns.rdatatype.RdataType) -> ZoneReply:
        asked = names.asked_in_reverse(name)
        members = [] if asked is None else self.directory.members_at(str(asked.address))
        if not members or type_ not in (dns.rdatatype.PTR, _ANY):
            return ZoneReply(dns.rcode.REFUSED)
        if type_ is _ANY:
            return ZoneReply(answers=((name, records.minimal_any()),))
        return ZoneReply(answers=tuple((name, pointer) for pointer in records.pointers(members, self._first)))

    def _soa(self, domain: dns.name.Name) -> tuple[Named, ...]:
        return ((domain, records.start_of_authority(domain, self.negative_ttl)),)

    def _own_ip(self) -> records.IP:
        own = ip_address(self.responder.host.partition("%")[0])
        return ip_address(self.node.address.host) if own.is_unspecified else own


def _is_asked_for(instance: Instance, tag: str, zone: str | None) -> bool:
    """Whether an instance has the tag, which may be its role too, and the zone, both asked for in lower case."""
    if zone is not None and instance.zone.lower() != zone:
        return False
    return not tag or (instance.role or "").lower() == tag or any(each.lower() == tag for each in instance.tags)
