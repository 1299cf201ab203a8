"""IPv4 packets in the switch: matching by rules, and corruption of bits."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping
from typing import Any, Final

import attrs

_UDP: Final = 17
_TCP: Final = 6
_PROTOCOLS: Final = {_UDP: "udp", _TCP: "tcp"}


@attrs.frozen
class Packet:
    """The fields of one IPv4 packet that rules look at."""

    source: str  # dotted address
    target: str
    protocol: str  # "udp", "tcp" or "other"
    length: int  # bytes, IP header included

    @classmethod
    def parse(cls, raw: bytes) -> Packet | None:
        """Read the header; return None if the packet is not IPv4."""
        if len(raw) < 20 or raw[0] >> 4 != 4:
            return None
        source, target = (".".join(map(str, raw[at : at + 4])) for at in (12, 16))
        return cls(source, target, _PROTOCOLS.get(raw[9], "other"), len(raw))


@attrs.frozen
class Rule:
    """The treatment of packets from some hosts to others. Probabilities are from 0 to 1, delays in seconds."""

    sources: frozenset[int]
    targets: frozenset[int]
    protocol: str = "any"  # "any", "udp" or "tcp"
    longer_than: int = 0  # matches only packets with more bytes
    drop: float = 0.0
    duplicate: float = 0.0
    corrupt: float = 0.0
    delay: tuple[float, float] = (0.0, 0.0)

    def matches(self, source: int, target: int, packet: Packet) -> bool:
        """Whether the rule applies to this packet."""
        return (
            source in self.sources
            and target in self.targets
            and self.protocol in ("any", packet.protocol)
            and packet.length > self.longer_than
        )

    def as_document(self) -> dict[str, Any]:
        """Return the rule as a JSON document."""
        return {**attrs.asdict(self), "sources": sorted(self.sources), "targets": sorted(self.targets)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Rule:
        """Read a rule from the document of `as_document`."""
        low, high = document["delay"]
        sets = {side: frozenset(document[side]) for side in ("sources", "targets")}
        return cls(**{**document, **sets, "delay": (low, high)})


def damaged(raw: bytes, rng: random.Random) -> bytes:
    """Swap two neighbouring words of the payload, so that the checksums of IP, UDP and TCP still hold.

    A packet with a wrong checksum is simply lost; this corruption reaches the program, as from a faulty network card. A
    packet too short for that, or whose words are equal, stays unchanged.
    """
    header = (raw[0] & 15) * 4
    if raw[9] == _UDP:
        begin = header + 8
    elif raw[9] == _TCP and len(raw) > header + 12:
        begin = header + (raw[header + 12] >> 4) * 4
    else:
        return raw
    word_count = (len(raw) - begin) // 2
    if word_count < 2:
        return raw
    at = begin + 2 * rng.randrange(word_count - 1)
    first, second = struct.unpack_from("!HH", raw, at)
    return raw[:at] + struct.pack("!HH", second, first) + raw[at + 4 :]


def fates(rules: list[Rule], source: int, target: int, packet: Packet, rng: random.Random) -> list[tuple[float, bool]]:
    """Return, for each copy of a packet that arrives, its delay (seconds) and whether it is corrupted."""
    delay, copies, corrupt = 0.0, 1, False
    for rule in rules:
        if not rule.matches(source, target, packet):
            continue
        if rule.drop and rng.random() < rule.drop:
            return []
        copies += bool(rule.duplicate) and rng.random() < rule.duplicate
        corrupt = corrupt or (bool(rule.corrupt) and rng.random() < rule.corrupt)
        delay += rng.uniform(*rule.delay)
    return [(delay, corrupt)] * copies
