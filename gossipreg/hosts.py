"""Hosts: which texts name a machine that can be called, and why others do not.

A host is an IP address, or a name as in DNS and hosts files (RFC 1123 §2.1, and the underscore that Docker and Windows
use). A text whose last part is a number must be an address: resolvers differ in how they read `1.2.3` and `010.0.0.1`,
so that two nodes would call different machines. An interface after a '%' (RFC 4007 §11) belongs to a link-local
address, which leads nowhere without it. Other addresses have none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gossipreg import limits

#: Where an agent answers HTTP unless told otherwise.
DEFAULT_HTTP: Final = "127.0.0.1:8500"

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
#: The name of a network interface: at most 15 characters on any system. Resolvers refuse a name with "..".
_SCOPE: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9._~-]{1,15}")


@lru_cache(maxsize=8192)
def flaw(host: str) -> str | None:
    """Why ``host`` cannot be called, as the end of a sentence that begins with "HOST is"; None if it can.

    It says what to give instead.
    """
    wrong = listening_flaw(host)
    if wrong is None and (address := _address(host)) is not None and address.is_unspecified:
        return "every address of a machine, to listen at, not one to call: give the address or name of one machine"
    return wrong


def listening_flaw(host: str) -> str | None:
    """Why no machine can listen at ``host``, likewise; None if one can."""
    if not 0 < len(host) <= limits.HOST_CHARS_MAX or not host.isascii():
        return f"not a host name or an IP address of 1 to {limits.HOST_CHARS_MAX} ASCII characters"
    if ":" in host:
        return _flaw_of_ipv6(host)
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        address = _address(host)
        if address is None:
            return (
                "neither an IPv4 address, which has four plain numbers such as 10.0.0.1, nor a name, whose last part "
                "is not a number"
            )
        return _flaw_of_address(address)
    if not all(map(_LABEL.fullmatch, labels)):
        return "not a host name: its parts have 1 to 63 letters, digits, '_' and inner '-', with single dots between"
    return None


def _flaw_of_ipv6(host: str) -> str | None:
    if host.startswith("[") or host.count(":") == 1:
        return "more than a host: give it without brackets, and the port apart from it"
    text, percent, scope = host.partition("%")
    if percent and not _SCOPE.fullmatch(scope):
        return "not an IPv6 address with the name of an interface after its '%', such as fe80::1%eth0"
    address = _address(text)
    if address is None:
        return "not an IPv6 address, such as 2001:db8::1"
    is_of_one_link = isinstance(address, IPv6Address) and address.is_link_local
    if is_of_one_link and not percent:
        return f"an address of one link, which leads nowhere without an interface: write {text}%INTERFACE"
    if percent and not is_of_one_link:
        return f"an address with an interface, which only those of one link (fe80::/10) have: write {text}"
    return _flaw_of_address(address)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that ``host`` is, an IPv4-mapped one as that of IPv4, without an interface; None if it is none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _flaw_of_address(address: IPv4Address | IPv6Address) -> str | None:
    if address.is_multicast or address == IPv4Address("255.255.255.255"):
        return "an address of many machines, not one to call: give the address or name of one machine"
    return None


def source_of(host: str) -> str:
    """The source of a stream or packet: an IPv4 address, or the /64 network that an IPv6 host is given.

    ``host``: an IP address in the kernel's notation; any other text is its own source.
    """
    if ":" not in host:
        return host
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
