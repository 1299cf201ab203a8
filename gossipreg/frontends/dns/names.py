"""Names: what a domain name asks for, which is a service, a member, an address, or the domain itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

import dns.exception
import dns.name
import dns.reversename

from gossipreg.values import frozen

_SERVICE = "service"
_SCALED = "service-x256"
_QUERY = "query"  # Consul's prepared queries; what none is called is the service of that name
_SERVICE_KINDS = (_SERVICE, _SCALED, _QUERY)
_KINDS = (*_SERVICE_KINDS, "node", "addr")
_ZONE = "zone"
_DATACENTER = "dc"
_PROTOCOLS = ("_tcp", "_udp")  # in the place of a tag (RFC 2782)
_REVERSE_IPV4: Final = dns.reversename.ipv4_reverse_domain
_REVERSE_IPV6: Final = dns.reversename.ipv6_reverse_domain


@frozen
class ApexName:
    """The domain itself."""


@frozen
class EmptyNonTerminal:
    """A name that only has others below it, such as ``service.gossipreg``.

    It exists (RFC 8020), so a resolver that asks for one label more at a time (RFC 9156) goes on below it.
    ``is_assumed``: there is no end of such names, and it was not looked up whether anything is below this one.
    """

    is_assumed: bool = False


@frozen
class NameServerName:
    """This name server: ``ns.gossipreg``."""


@frozen
class ServiceName:
    """Instances of a service.

    Service names and tags may hold dots, so where one ends is found out by looking: ``readings`` are the pairs of tag
    (empty: any) and service that the labels can mean, the first that exists is meant. Services that end in a dot and
    ``suffix`` are below this name.
    """

    readings: tuple[tuple[str, str], ...]
    zone: str | None = None
    scaled: bool = False  # weights times 256, which HAProxy divides by
    suffix: str = ""
    is_query: bool = False  # a prepared query of that name goes first


@frozen
class NodeName:
    """A member."""

    name: str


@frozen
class AddressName:
    """An IP address that is written in the name."""

    address: IPv4Address | IPv6Address


@frozen
class ReverseName:
    """What is at an IP address."""

    address: IPv4Address | IPv6Address


Asked = ApexName | EmptyNonTerminal | NameServerName | ServiceName | NodeName | AddressName | ReverseName

Domains = tuple[dns.name.Name, ...]


def domain_of(name: dns.name.Name, domains: Domains) -> dns.name.Name | None:
    """The one of ``domains``, the most special first, that ``name`` is in."""
    return next((domain for domain in domains if name.is_subdomain(domain)), None)


def asked_below(name: dns.name.Name, domain: dns.name.Name, datacenter: str) -> Asked | None:
    """What a name inside ``domain`` asks for; None if there can be no such name. ``name`` is in lower case.

    Names may end in ``datacenter``, with ``.dc`` behind it or without: it is in lower case, and dots separate labels.
    """
    try:
        labels = tuple(label.decode().lower() for label in name.labels[: -len(domain.labels)])
    except UnicodeDecodeError:
        return None
    if not labels:
        return ApexName()
    if labels == ("ns",):
        return NameServerName()
    if labels[-1] not in (*_KINDS, _ZONE):
        local = _without_datacenter(labels, tuple(datacenter.split(".")))
        if not local:
            return None if local is None else EmptyNonTerminal()
        labels = local
    return _in_zone(labels)


def asked_elsewhere(
    name: dns.name.Name, domain: dns.name.Name, regions: Iterable[str]
) -> tuple[str, Asked | None] | None:
    """Which of ``regions`` a name inside ``domain`` ends in, and what it asks for there; None if it ends in none."""
    try:
        labels = tuple(label.decode().lower() for label in name.labels[: -len(domain.labels)])
    except UnicodeDecodeError:
        return None
    if not labels or labels == (_DATACENTER,) or labels[-1] in (*_KINDS, _ZONE):
        return None
    for region in sorted(regions, key=lambda each: (-each.count("."), each)):  # that of a.eu before that of eu
        local = _without_datacenter(labels, tuple(region.lower().split(".")))
        if local is not None:
            return region, _in_zone(local) if local else EmptyNonTerminal()
    return None


def _without_datacenter(labels: tuple[str, ...], datacenter: tuple[str, ...]) -> tuple[str, ...] | None:
    """The labels before the datacenter's, none for a name above theirs; None for those of another datacenter."""
    if labels[-1] == _DATACENTER:
        labels = labels[:-1]
    if labels == datacenter[len(datacenter) - len(labels) :]:
        return ()
    return labels[: -len(datacenter)] if labels[-len(datacenter) :] == datacenter else None


def _in_zone(labels: tuple[str, ...]) -> Asked | None:
    if labels[-1] != _ZONE:
        return _asked(labels[:-1], labels[-1], None)
    end = _rightmost_kind(labels[:-2])
    if end is None:
        return EmptyNonTerminal(is_assumed=len(labels) > 1)
    return _asked(labels[:end], labels[end], ".".join(labels[end + 1 : -1]))


def _asked(rest: tuple[str, ...], kind: str, zone: str | None) -> Asked | None:
    if kind not in (_KINDS if zone is None else _SERVICE_KINDS):
        return None
    if not rest:
        return EmptyNonTerminal(is_assumed=zone is not None)
    if kind == "node":
        return NodeName(".".join(rest))
    if kind == "addr":
        return _written_host(rest)
    if len(rest) == 1 and rest[0].startswith("_"):
        return EmptyNonTerminal(is_assumed=zone is not None or rest[0] not in _PROTOCOLS)
    readings = _readings(rest)
    suffix = ".".join(rest[:-1] if rest[-1].startswith("_") else rest)
    is_query = kind == _QUERY
    readings = readings[:1] if is_query else readings
    return ServiceName(readings, zone, scaled=kind == _SCALED, suffix=suffix, is_query=is_query)


def asked_in_reverse(name: dns.name.Name) -> ReverseName | None:
    """The address that a name in ``in-addr.arpa`` or ``ip6.arpa`` stands for; None for any other name."""
    try:
        return ReverseName(ip_address(dns.reversename.to_address(name)))
    except (dns.exception.DNSException, ValueError):
        return None


def network_in_reverse(name: dns.name.Name) -> IPv4Network | IPv6Network | None:
    """The network whose addresses' reverse names are below ``name``; None for any other name, and for all addresses."""
    for top, chars, base in ((_REVERSE_IPV4, 4, 10), (_REVERSE_IPV6, 32, 16)):
        labels = name.labels[: -len(top.labels)]
        if not name.is_subdomain(top) or not 0 < len(labels) < chars:
            continue
        try:
            parts = [int(label, base) for label in reversed(labels)]
            whole = [*parts, *[0] * (chars - len(parts))]
            if base == 10:
                return IPv4Network((bytes(whole), 8 * len(parts)))
            return IPv6Network((bytes.fromhex("".join(f"{part:x}" for part in whole)), 4 * len(parts)))
        except ValueError:
            return None
    return None


def target_wire(address: IPv4Address | IPv6Address, port: int, domain: dns.name.Name) -> bytes:
    """The wire form of a name that asks for ``address``: ``8080.7f000001.addr.gossipreg``.

    The port makes it another name for each instance on a host: HAProxy 2.6 gives an address to one only of several SRV
    records with the same target.
    """
    labels = (b"%d" % port, address.packed.hex().encode(), b"addr")
    return b"".join(bytes((len(label),)) + label for label in labels) + _wire(domain)


@lru_cache(maxsize=16)
def _wire(domain: dns.name.Name) -> bytes:
    wire = domain.to_wire()
    assert wire is not None
    return wire


def _rightmost_kind(labels: tuple[str, ...]) -> int | None:
    return next((place for place in reversed(range(len(labels))) if labels[place] in _KINDS), None)


def _readings(labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    first, last = labels[0], labels[-1]
    if len(labels) >= 2 and first.startswith("_") and last.startswith("_"):  # RFC 2782: _service._tag
        tag = last[1:]
        return (("" if tag in ("tcp", "udp") else tag, ".".join(labels[:-1])[1:]),)
    return tuple((".".join(labels[:place]), ".".join(labels[place:])) for place in range(len(labels)))


def _written_host(labels: tuple[str, ...]) -> AddressName | None:
    *port, written = labels
    if len(written) not in (8, 32) or len(port) > 1 or not all(label.isdigit() for label in port):
        return None
    try:
        return AddressName(ip_address(bytes.fromhex(written)))
    except ValueError:
        return None
