"""DNS records: what instances, members and the domain itself look like."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.HINFO import HINFO
from dns.rdtypes.ANY.NS import NS
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA

from gossipreg.frontends.dns import limits
from gossipreg.frontends.serving.kept_meta import meta_as_given
from gossipreg.limits import WEIGHT_MAX
from gossipreg.model import Instance

_IN = dns.rdataclass.IN

#: The heaviest weight that HAProxy knows.
_SCALED_MAX = 255

IP = IPv4Address | IPv6Address


@functools.lru_cache(maxsize=4096)
def ip_of(host: str) -> IP | None:
    """The IP address that ``host`` is, or None if it is a name. A scope, which DNS cannot carry, is left out."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None


def address(ip: IP) -> dns.rdata.Rdata:
    """An A or an AAAA record."""
    if isinstance(ip, IPv4Address):
        return A(_IN, dns.rdatatype.A, str(ip))
    return AAAA(_IN, dns.rdatatype.AAAA, str(ip))


def addresses(hosts: Iterable[str]) -> list[dns.rdata.Rdata]:
    """An A or AAAA record for each of ``hosts`` that is an IP address, each once."""
    return [address(ip) for ip in dict.fromkeys(ip_of(host) for host in hosts) if ip is not None]


def aliases(hosts: Iterable[str]) -> list[dns.rdata.Rdata]:
    """A CNAME record for each of ``hosts``, which are names, that DNS can say."""
    names = (named(host) for host in hosts)
    return [CNAME(_IN, dns.rdatatype.CNAME, name) for name in names if name is not None]


def text(instance: Instance) -> dns.rdata.Rdata:
    """The TXT record of an instance: ``key=value`` strings, as RFC 6763 §6 has them."""
    return TXT(_IN, dns.rdatatype.TXT, list(_strings(instance)))


def minimal_any() -> dns.rdata.Rdata:
    """What is answered to a question for every type (RFC 8482 §4.2)."""
    return HINFO(_IN, dns.rdatatype.HINFO, b"RFC8482", b"")


def start_of_authority(domain: dns.name.Name, negative_ttl: int) -> dns.rdata.Rdata:
    """The SOA record. Its serial stays 1, as there are no secondaries to compare it."""
    server, mailbox = (dns.name.Name((label, *domain.labels)) for label in (b"ns", b"hostmaster"))
    return SOA(_IN, dns.rdatatype.SOA, server, mailbox, 1, 3600, 600, 86_400, negative_ttl)


def name_server(domain: dns.name.Name) -> dns.rdata.Rdata:
    """The NS record: this name server."""
    return NS(_IN, dns.rdatatype.NS, dns.name.Name((b"ns", *domain.labels)))


def pointers(members: Iterable[str], domain: dns.name.Name) -> list[dns.rdata.Rdata]:
    """A PTR record to each of ``members`` that DNS can say."""
    names = (named(f"{member}.node.{domain}") for member in members)
    return [PTR(_IN, dns.rdatatype.PTR, name) for name in names if name is not None]


def named(host: str) -> dns.name.Name | None:
    """``host`` as a domain name, or None if DNS cannot say it: an empty label, or one of more than 63 characters."""
    try:
        return dns.name.from_text(host)
    except dns.exception.DNSException:
        return None


def factor(instances: Sequence[Instance]) -> float:
    """What weights are multiplied by for HAProxy: 256, or less if the heaviest would not fit into 16 bits."""
    heaviest = max((instance.weight for instance in instances), default=1)
    return 256 if heaviest <= _SCALED_MAX else WEIGHT_MAX / heaviest


def _strings(instance: Instance) -> Iterator[bytes]:
    pairs = [("id", instance.id), ("host", instance.host), ("port", str(instance.port or ""))]
    pairs += [("weight", str(instance.weight)), ("zone", instance.zone), ("role", instance.role or "")]
    pairs += [("tag", tag) for tag in instance.tags]
    pairs += [(f"meta.{key}", value) for key, value in sorted(meta_as_given(instance).items())]
    bytes_left = limits.TXT_RECORD_BYTES_MAX
    for key, value in pairs:
        string = f"{key}={value}".encode()
        if value and len(string) <= min(limits.TXT_BYTES_MAX, bytes_left - 1):
            bytes_left -= len(string) + 1
            yield string
