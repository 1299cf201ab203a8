"""Hosts: which texts name a machine that can be called, and why others do not.

A host is an IP address, or a name as in DNS and hosts files (RFC 1123 §2.1, and the underscore that Docker and Windows
use). A text whose last part is a number must be an address: resolvers differ in how they read `1.2.3` and `010.0.0.1`,
so that two nodes would call different machines.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gossipreg import limits

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
#: The name of a network interface: at most 15 characters on any system. Resolvers refuse a name with "..".
_SCOPE: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9._~-]{1,15}")


@lru_cache(maxsize=8192)
def flaw(host: str) -> str | None:
    """Why ``host`` cannot be called, as the end of a sentence that begins with "HOST is"; None if it can."""
    if not 0 < len(host) <= limits.HOST_CHARS_MAX or not host.isascii():
        return "not a host name or an IP address"
    if ":" in host:
        return _flaw_of_ipv6(host)
    labels = host.removesuffix(".").split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return _flaw_of_address(IPv4Address(host))
        except ValueError:
            return "neither an IPv4 address, which has four plain numbers, nor a name, whose last part is not a number"
    if not all(map(_LABEL.fullmatch, labels)):
        return "not a host name: its parts have 1 to 63 letters, digits, '_' and inner '-'"
    return None


def _flaw_of_ipv6(host: str) -> str | None:
    text, percent, scope = host.partition("%")
    if percent and not _SCOPE.fullmatch(scope):
        return "not an IPv6 address with the name of an interface after its '%'"
    try:
        return _flaw_of_address(IPv6Address(text))
    except ValueError:
        return "not an IPv6 address; give no port and no brackets here"


def _flaw_of_address(address: IPv4Address | IPv6Address) -> str | None:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    meant = address if mapped is None else mapped
    if meant.is_unspecified:
        return "every address of a machine, to listen at, not one to call"
    if meant.is_multicast or meant == IPv4Address("255.255.255.255"):
        return "an address of many machines, not one to call"
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
