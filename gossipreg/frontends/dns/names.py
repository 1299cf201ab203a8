"""Names: what a domain name asks for, which is a service, a member, an address, or the domain itself."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

import attrs
import dns.exception
import dns.name
import dns.reversename

_SERVICE = "service"
_SCALED = "service-x256"
_KINDS = (_SERVICE, _SCALED, "node", "addr")
_ZONE_WORDS = ("dc", "zone")  # Consul's word, and ours


@attrs.frozen
class ApexName:
    """The domain itself."""


@attrs.frozen
class EmptyNonTerminal:
    """A name that only has others below it, such as ``service.gossipreg``."""


@attrs.frozen
class NameServerName:
    """This name server: ``ns.gossipreg``."""


@attrs.frozen
class ServiceName:
    """Instances of a service.

    Service names and tags may hold dots, so where one ends is found out by looking: ``readings`` are the pairs of tag
    (empty: any) and service that the labels can mean, the first that exists is meant.
    """

    readings: tuple[tuple[str, str], ...]
    zone: str | None = None
    scaled: bool = False  # weights times 256, which HAProxy divides by


@attrs.frozen
class NodeName:
    """A member."""

    name: str


@attrs.frozen
class AddressName:
    """An IP address that is written in the name."""

    address: IPv4Address | IPv6Address


@attrs.frozen
class ReverseName:
    """What is at an IP address."""

    address: IPv4Address | IPv6Address


Asked = ApexName | EmptyNonTerminal | NameServerName | ServiceName | NodeName | AddressName | ReverseName

_FIXED: Final[Mapping[tuple[str, ...], Asked]] = {
    (): ApexName(),
    ("ns",): NameServerName(),
    **{(word,): EmptyNonTerminal() for word in (*_KINDS, *_ZONE_WORDS)},
}

Domains = tuple[dns.name.Name, ...]


def domain_of(name: dns.name.Name, domains: Domains) -> dns.name.Name | None:
    """The one of ``domains``, the most special first, that ``name`` is in."""
    return next((domain for domain in domains if name.is_subdomain(domain)), None)


def asked_below(name: dns.name.Name, domain: dns.name.Name) -> Asked | None:
    """What a name inside ``domain`` asks for; None if there can be no such name. ``name`` is in lower case."""
    try:
        labels = tuple(label.decode().lower() for label in name.labels[: -len(domain.labels)])
    except UnicodeDecodeError:
        return None
    zone = None
    if len(labels) >= 2 and labels[-1] in _ZONE_WORDS:
        end = _rightmost_kind(labels[:-2])
        if end is None:
            return EmptyNonTerminal()
        zone = ".".join(labels[end + 1 : -1])
        labels = labels[: end + 1]
    return _FIXED.get(labels) or _asked(labels[:-1], labels[-1], zone)


def _asked(rest: tuple[str, ...], kind: str, zone: str | None) -> Asked | None:
    if kind in (_SERVICE, _SCALED):
        return ServiceName(_readings(rest), zone, scaled=kind == _SCALED)
    if kind == "node" and zone is None:
        return NodeName(".".join(rest))
    if kind == "addr" and zone is None:
        return _written_host(rest)
    return None


def asked_in_reverse(name: dns.name.Name) -> ReverseName | None:
    """The address that a name in ``in-addr.arpa`` or ``ip6.arpa`` stands for; None for any other name."""
    try:
        return ReverseName(ip_address(dns.reversename.to_address(name)))
    except (dns.exception.DNSException, ValueError):
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
