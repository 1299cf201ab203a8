"""Reflection: how much an unproven address is sent over UDP, so that answers cannot be aimed at a third party.

A UDP source address can be forged, and an answer can be a hundred times as long as its query: without a bound, an agent
that answers beyond loopback is a weapon (RFC 5358). So the answers to each network are bounded in bytes a second.
Beyond that they are empty and truncated, no longer than the query, and a client that is really there asks again over
TCP, which proves its address. Loopback is not bounded: no packet from elsewhere can bear its addresses.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Final

import attrs

from gossipreg.frontends.dns import limits

_HEADER: Final = struct.Struct("!HHHHHH")

#: The flag of an answer that did not fit (RFC 1035 §4.1.1).
_TRUNCATED: Final = 0x0200


@attrs.define(eq=False, repr=False)
class Reflection:
    """What each network may still be sent. Times are in seconds on any steady clock."""

    _left: OrderedDict[str, tuple[float, float]] = attrs.field(init=False, factory=OrderedDict)  # bytes, and as of when

    def allows(self, host: str, size: int, now: float) -> bool:
        """Whether an answer of ``size`` bytes may go to ``host``; if so, it is counted."""
        if host.startswith("127.") or host == "::1":
            return True
        network = network_of(host)
        most = limits.UNPROVEN_BYTES_PER_SECOND * limits.UNPROVEN_BURST_SECONDS
        left, then = self._left.pop(network, (most, now))
        left = min(most, left + (now - then) * limits.UNPROVEN_BYTES_PER_SECOND)
        allowed = size <= left
        self._left[network] = (left - size if allowed else left, now)
        while len(self._left) > limits.UNPROVEN_NETWORKS_MAX:
            self._left.popitem(last=False)
        return allowed


def network_of(host: str) -> str:
    """What ``host`` is counted with: its /24 network, or of IPv6 its /56."""
    address = ip_address(host.partition("%")[0])
    if isinstance(address, IPv6Address):
        return str(IPv6Address(int(address) >> 72 << 72))
    return host.rpartition(".")[0]


def truncated(answer: bytes) -> bytes:
    """``answer`` without its records and marked as truncated."""
    id_, flags, questions, *_ = _HEADER.unpack_from(answer)
    end = _HEADER.size
    if questions:
        while answer[end]:
            end += answer[end] + 1
        end += 1 + 4  # the root, the type and the class
    return _HEADER.pack(id_, flags | _TRUNCATED, questions, 0, 0, 0) + answer[_HEADER.size : end]
