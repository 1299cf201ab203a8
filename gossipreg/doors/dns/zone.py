"""Knows what there is to say about a name: records, nothing of that type, no such name, or that it is not ours."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import attrs
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype

from gossipreg.doors.dns import limits, names, records
from gossipreg.doors.dns.directory import Directory
from gossipreg.doors.dns.registry import Registry
from gossipreg.model import Address, Instance

_A, _AAAA, _ANY = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.ANY
_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)

#: A record's owner and the record.
Named = tuple[dns.name.Name, dns.rdata.Rdata]


@attrs.frozen
class Reply:
    """What is to be said. ``read`` are the services that were looked at, each with its index at that time."""

    rcode: dns.rcode.Rcode = dns.rcode.NOERROR
    answers: tuple[Named, ...] = ()
    authority: tuple[Named, ...] = ()
    additional: tuple[Named, ...] = ()
    read: tuple[tuple[str, int], ...] = ()
    has_orders: bool = False  # the next one may be in another order


def _domains(texts: tuple[str, ...]) -> names.Domains:
    return tuple(sorted((dns.name.from_text(text.lower()) for text in texts), key=len, reverse=True))


@attrs.define(eq=False, repr=False)
class Zone:
    """Answers questions from the node's view. ``ttl`` is in seconds; ``door`` is where this door listens."""

    node: Registry
    directory: Directory
    door: Address
    texts: tuple[str, ...]
    ttl: int
    dice: Random = attrs.field(factory=Random)
    _domains: names.Domains = attrs.field(init=False)
    _first: dns.name.Name = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._domains = _domains(self.texts)
        self._first = dns.name.from_text(self.texts[0].lower())

    @property
    def negative_ttl(self) -> int:
        """How long a client may remember that something is not there (seconds)."""
        return min(self.ttl, limits.NEGATIVE_TTL_MAX)

    def reply(self, name: dns.name.Name, type_: dns.rdatatype.RdataType, lot: float) -> Reply:
        """What is to be said about ``name``, in lower case. ``lot``, from 0 up to 1, decides who comes first."""
        domain = names.domain_of(name, self._domains)
        if domain is None:
            return self._in_reverse(name, type_)
        if type_ in _TRANSFERS:
            return Reply(dns.rcode.REFUSED)
        asked = names.asked_below(name, domain)
        if isinstance(asked, names.Service):
            return self._service(name, domain, type_, asked, lot)
        if isinstance(asked, names.Apex):
            return self._apex(domain, type_)
        there = self._there(asked)
        return self._nobody(domain) if there is None else self._found(name, domain, type_, there)

    def _there(self, asked: names.Asked | None) -> list[dns.rdata.Rdata] | None:
        """What there is at a name that asks for one thing; None if there is no such thing."""
        match asked:
            case names.Branch():
                return []
            case names.NameServer():
                return [records.address(self._own_ip())]
            case names.Host(address):
                return [records.address(address)]
            case names.Node(member):
                return records.addresses(self.directory.hosts(member)) or None
            case _:
                return None

    def _apex(self, domain: dns.name.Name, type_: dns.rdatatype.RdataType) -> Reply:
        own = [records.start_of_authority(domain, self.negative_ttl), records.name_server(domain)]
        reply = self._found(domain, domain, type_, own)
        if type_ not in (_ANY, dns.rdatatype.NS):
            return reply
        server = dns.name.Name((b"ns", *domain.labels))
        return attrs.evolve(reply, additional=((server, records.address(self._own_ip())),))

    def _service(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        asked: names.Service,
        lot: float,
    ) -> Reply:
        read: dict[str, int] = {}
        offered: list[Instance] = []
        for tag, service in asked.readings:
            for spelling in self.directory.spellings(service):
                read[spelling] = self.node.index(spelling)
                offered += self.node.lookup(spelling, healthy=False)
            if offered:
                offered = [each for each in offered if _is_asked_for(each, tag, asked.zone)]
                break
        if not offered:
            return attrs.evolve(self._nobody(domain), read=tuple(read.items()))
        able = [each for each in offered if each.health.can_serve and each.weight > 0]
        reply = self._offered(name, domain, type_, records.by_weight(able, self.dice, lot), scaled=asked.scaled)
        return attrs.evolve(reply, read=tuple(read.items()))

    def _offered(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        instances: list[Instance],
        *,
        scaled: bool,
    ) -> Reply:
        found: list[dns.rdata.Rdata] = []
        known: dict[dns.name.Name, dns.rdata.Rdata] = {}
        hosts = [instance.host for instance in instances]
        if type_ in (_A, _AAAA, _ANY):
            found += records.addresses(hosts)
        if type_ in (_A, _AAAA, dns.rdatatype.CNAME):
            found += records.alias(hosts)
        if type_ in (dns.rdatatype.SRV, _ANY):
            servers, known = records.servers(instances, domain, scaled=scaled)
            found += servers
        if type_ in (dns.rdatatype.TXT, _ANY):
            found += records.texts(instances)
        reply = self._found(name, domain, type_, found)
        return attrs.evolve(reply, additional=tuple(known.items()), has_orders=len(instances) > 1)

    def _found(
        self,
        name: dns.name.Name,
        domain: dns.name.Name,
        type_: dns.rdatatype.RdataType,
        there: list[dns.rdata.Rdata],
    ) -> Reply:
        """Those of what is there that are of the type; an alias answers for every type."""
        fitting = tuple(
            (name, each) for each in there if type_ in (_ANY, each.rdtype) or each.rdtype is dns.rdatatype.CNAME
        )
        return Reply(answers=fitting) if fitting else Reply(authority=self._soa(domain))

    def _nobody(self, domain: dns.name.Name) -> Reply:
        return Reply(dns.rcode.NXDOMAIN, authority=self._soa(domain))

    def _in_reverse(self, name: dns.name.Name, type_: dns.rdatatype.RdataType) -> Reply:
        asked = names.asked_in_reverse(name)
        members = [] if asked is None else self.directory.members_at(str(asked.address))
        if not members or type_ not in (dns.rdatatype.PTR, _ANY):
            return Reply(dns.rcode.REFUSED)
        return Reply(answers=tuple((name, pointer) for pointer in records.pointers(members, self._first)))

    def _soa(self, domain: dns.name.Name) -> tuple[Named, ...]:
        return ((domain, records.start_of_authority(domain, self.negative_ttl)),)

    def _own_ip(self) -> records.IP:
        own = ip_address(self.door.host.partition("%")[0])
        return ip_address(self.node.address.host) if own.is_unspecified else own


def _is_asked_for(instance: Instance, tag: str, zone: str | None) -> bool:
    """Whether an instance has the tag, which may be its role too, and the zone, both asked for in lower case."""
    if zone is not None and instance.zone.lower() != zone:
        return False
    return not tag or (instance.role or "").lower() == tag or any(each.lower() == tag for each in instance.tags)
