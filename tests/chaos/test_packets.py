"""The treatment of packets by the switch, without a network."""

from __future__ import annotations

import random
import struct

import pytest

from tests.chaos.packets import Packet, Rule, damaged, fates


def packet(protocol: int = 17, payload: bytes = b"abcdefgh", source: str = "10.77.0.1") -> bytes:
    """An IPv4 packet without options, its checksums left at 0."""
    transport = bytes(8) if protocol == 17 else bytes(12) + bytes([5 << 4]) + bytes(7)
    addresses = bytes(map(int, source.split("."))) + bytes([10, 77, 0, 2])
    length = 20 + len(transport) + len(payload)
    return struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0, 64, protocol, 0) + addresses + transport + payload


def parsed(raw: bytes) -> Packet:
    found = Packet.parse(raw)
    assert found is not None
    return found


def words_sum(raw: bytes) -> int:
    return sum(struct.unpack(f"!{len(raw) // 2}H", raw))


A, B = frozenset({0}), frozenset({1})


def test_a_packet_header_is_parsed() -> None:
    assert parsed(packet()) == Packet("10.77.0.1", "10.77.0.2", "udp", 36)
    assert parsed(packet(6)).protocol == "tcp"
    assert parsed(packet(1)).protocol == "other"


@pytest.mark.parametrize("raw", [b"", b"\x60" + bytes(60), packet()[:19]])
def test_a_packet_that_is_not_ipv4_is_rejected(raw: bytes) -> None:
    assert Packet.parse(raw) is None


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        (Rule(A, B), True),
        (Rule(B, A), False),
        (Rule(A, B, protocol="udp"), True),
        (Rule(A, B, protocol="tcp"), False),
        (Rule(A, B, longer_than=35), True),
        (Rule(A, B, longer_than=36), False),
    ],
)
def test_a_rule_matches_some_packets(rule: Rule, matches: bool) -> None:
    assert rule.matches(0, 1, parsed(packet())) == matches


def test_fates() -> None:
    rng = random.Random(1)
    shown = parsed(packet())
    assert fates([], 0, 1, shown, rng) == [(0.0, False)]
    assert fates([Rule(A, B, drop=1.0)], 0, 1, shown, rng) == []
    assert fates([Rule(A, B, drop=1.0)], 1, 0, shown, rng) == [(0.0, False)]
    assert fates([Rule(A, B, duplicate=1.0), Rule(A, B, corrupt=1.0)], 0, 1, shown, rng) == [(0.0, True)] * 2
    [(delay, _)] = fates([Rule(A, B, delay=(0.1, 0.2)), Rule(A, B, delay=(0.1, 0.2))], 0, 1, shown, rng)
    assert 0.2 <= delay <= 0.4


@pytest.mark.parametrize("protocol", [17, 6])
def test_corruption_changes_the_payload_but_not_the_checksum(protocol: int) -> None:
    raw = packet(protocol)
    header = len(raw) - 8
    for seed in range(20):
        hurt = damaged(raw, random.Random(seed))
        assert hurt[:header] == raw[:header]
        assert hurt[header:] != raw[header:]
        assert words_sum(hurt) == words_sum(raw)


@pytest.mark.parametrize("raw", [packet(1), packet(payload=b"ab"), packet(6, payload=b"")])
def test_a_packet_that_cannot_be_corrupted_stays_unchanged(raw: bytes) -> None:
    assert damaged(raw, random.Random(1)) == raw


def test_a_rule_survives_json() -> None:
    rule = Rule(A, frozenset({1, 2}), "udp", 600, 0.1, 0.2, 0.3, (0.0, 0.5))
    assert Rule.from_document(rule.as_document()) == rule
