"""Hosts: which texts name a machine that can be called, and what is wrong with others.

A host is an IP address, or a name as DNS and hosts files have it (RFC 1123 §2.1, with the underscore that Docker and
Windows use). What ends in a number is an address or nothing: resolvers read `1.2.3` and `010.0.0.1` each in their own
way, so that one node would call another machine than the next.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from gossipreg import limits

_LABEL: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
#: The name of a network interface: at most 15 characters on any system. Resolvers take what has ".." for a bad name.
_SCOPE: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9._~-]{1,15}")


@lru_cache(maxsize=8192)
def flaw(host: str) -> str | None:
    """Why ``host`` cannot be called, to be put after "HOST is"; None if it can."""
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
    """What all streams and packets of one source have in common: an IPv4 address, or what one host is given, a /64.

    ``host``: an IP address as the kernel writes it; anything else is its own source.
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
