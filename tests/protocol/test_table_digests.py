"""Digests of tables: when they are told, and what a member does that lacks what they stand for."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.outputs import Output, Transmit
from gossipreg.protocol.registry.records import Record, RecordRequest, TableDigest
from gossipreg.protocol.state import DIGEST_BYTES_MAX
from gossipreg.protocol.wire.messages import Message, pack
from gossipreg.protocol.wire.reader import unpack
from tests.protocol.disseminating import CROWD, OF_OWNER, OWNER, B, acknowledge, sent, told_owner
from tests.protocol.making import BORN, address, history, instance, packet, said_to
from tests.protocol.test_engine import among


def test_when_a_table_has_been_quiet_its_digest_goes_to_a_member() -> None:
    node = among(*CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    outputs = node.handle_timeout(6.05)
    [(_, digest)] = sent(outputs, TableDigest)
    assert isinstance(digest, TableDigest)
    assert (digest.owner, digest.version, digest.gone) == (OWNER.name, 4, ())
    assert node.state.digests.deadline == float("inf"), "once"


def test_a_digest_is_piggybacked_on_an_ack() -> None:
    node = among(B, *CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.handle_timeout(6.05)
    outputs = node.receive(packet(B, Ping(1, 0, 0)), B.address, 6.1)
    assert [each.owner for each in said_to(outputs, B.address) if isinstance(each, TableDigest)] == [OWNER.name]


def test_where_packets_are_lost_a_digest_is_told_three_times() -> None:
    node = among(*CROWD)
    node.disseminator.deliveries._lost = 0.1
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.disseminator.deliveries._lost = 0.1
    told = []
    while node.state.digests.deadline < 7.0:
        now = node.state.digests.deadline
        told += [now for _ in sent(node.handle_timeout(now), TableDigest)]
    assert told[:3] == pytest.approx([6.05, 6.1, 6.15])


def test_a_table_that_is_not_whole_is_requested_of_any_member() -> None:
    node = among(*CROWD)
    acknowledge(node, told_owner(node, OF_OWNER[-1]), 6.001)
    outputs = node.handle_timeout(6.05)
    assert sent(outputs, TableDigest) == []
    [(_, request)] = sent(outputs, RecordRequest)
    assert request == RecordRequest(OWNER.name, BORN, 0, (4, 4))
    assert node.counters[Count.RECORDS_REQUESTED] == 1


def test_with_no_other_member_it_is_requested_of_none() -> None:
    node = among()
    for now in (6.0, 7.0):
        node.disseminator.lazy.requests.want("a", None, now, wait=0.0)
        node.disseminator.lazy.send_requests(now)
        node.register(instance("mine"), now)
    assert node.counters[Count.RECORDS_REQUESTED] == 0


def test_a_digest_of_what_is_lacking_is_answered_with_a_request() -> None:
    node = among(B, *CROWD)
    digest = TableDigest(OWNER.name, BORN, 4, OF_OWNER[-1].table_xor)
    node.receive(packet(B, digest), B.address, 6.0)
    assert sent(node.handle_timeout(6.0), RecordRequest) == [("b", RecordRequest(OWNER.name, BORN, 0, ()))]


def test_while_records_are_arriving_the_request_waits() -> None:
    node = among(B, *CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER[:1]), 6.001)
    digest = TableDigest(OWNER.name, BORN, 4, OF_OWNER[-1].table_xor)
    node.receive(packet(B, digest), B.address, 6.002)
    assert sent(node.handle_timeout(6.002), RecordRequest) == []
    told_owner(node, *OF_OWNER[1:], now=6.01)
    later = [output for ms in range(10, 300) for output in node.handle_timeout(6 + ms / 1000)]
    assert sent(later, RecordRequest) == [], "they have arrived"


def test_a_member_that_holds_less_is_told_the_digest() -> None:
    node = among(B, *CROWD)
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.handle_timeout(6.05)
    old = TableDigest(OWNER.name, BORN, 1, OF_OWNER[0].table_xor)
    answered = sent(node.receive(packet(B, old), B.address, 6.2), TableDigest)
    assert [(name, each.version) for name, each in answered if isinstance(each, TableDigest)] == [("b", 4)]
    same = TableDigest(OWNER.name, BORN, 4, OF_OWNER[-1].table_xor)
    assert sent(node.receive(packet(B, same), B.address, 6.3), TableDigest) == []


def test_a_digest_of_no_member_or_of_another_run_asks_for_nothing() -> None:
    node = among(B)
    digest = TableDigest("b", BORN, 4, 1)
    node.receive(packet(99, digest), address(9999), 6.0)
    node.receive(packet(B, attrs_with(digest, generation=BORN + 1)), B.address, 6.0)
    node.receive(packet(B, attrs_with(digest, owner="a", generation=BORN - 1)), B.address, 6.0)
    assert sent(node.handle_timeout(6.0), RecordRequest) == []


def attrs_with(digest: TableDigest, **changes: Any) -> TableDigest:
    return attrs.evolve(digest, **changes)


# Many digests in one packet


def transmitted(outputs: list[Output]) -> list[list[Message]]:
    """The messages of each packet to B."""
    return [unpack(each.data)[1] for each in outputs if isinstance(each, Transmit) and each.to == B.address]


def of_crowd(node: Engine) -> list[Record]:
    """Two records of each in the crowd; ``node`` holds them all."""
    said = [record for each in CROWD for record in history([("x", 1), ("y", 1)], owner=each.name).said]
    for record in said:
        assert node.state.take(record, 6.0, spread=False)
    return said


def test_old_digests_of_one_packet_are_answered_together() -> None:
    node = among(B, *CROWD)
    old = [TableDigest(each.owner, BORN, each.version, each.table_xor) for each in of_crowd(node) if each.version == 1]
    answers = transmitted(node.receive(packet(B, *old, *old), B.address, 7.0))
    told = [each for answer in answers for each in answer]
    assert [(each.owner, each.version) for each in told if isinstance(each, TableDigest)] == [
        (each.name, 2) for each in CROWD
    ]
    assert len(answers) == 1
    assert len(told) == len(CROWD)


def test_in_one_second_so_many_packets_answer_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIGEST_ANSWERS_PER_SECOND_MAX", 2)
    node = among(B, *CROWD)
    first = of_crowd(node)[0]
    old = TableDigest(first.owner, BORN, 1, first.table_xor)
    assert [len(transmitted(node.receive(packet(B, old), B.address, 7.0))) for _ in range(3)] == [1, 1, 0]
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1
    assert transmitted(node.receive(packet(B, old), B.address, 7.5))


def test_tables_that_are_lacking_are_requested_of_one_member_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DIGEST_ANSWERS_PER_SECOND_MAX", 1)
    node = among(B, *CROWD)
    digests = [TableDigest(each.name, BORN, 4, 1) for each in CROWD]
    node.receive(packet(B, *digests), B.address, 6.0)
    [requests] = transmitted(node.handle_timeout(6.0))
    assert requests == [RecordRequest(each.name, BORN, 0) for each in CROWD]
    assert node.counters[Count.RECORDS_REQUESTED] == len(CROWD)
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 0
    node.handle_timeout(6.0 + node.settings.gossip_tree_gap)
    assert node.counters[Count.RECORDS_REQUESTED] == len(CROWD), "the budget is spent"
    assert node.counters[Count.REQUESTS_OVER_BUDGET] > 0


def test_a_packed_digest_is_no_longer_than_is_reserved_for_it() -> None:
    most = TableDigest("n" * limits.NAME_CHARS_MAX, (1 << 53) - 1, (1 << 53) - 1, (1 << 64) - 1)
    assert len(pack(most)) <= DIGEST_BYTES_MAX
