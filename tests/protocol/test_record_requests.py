"""Requests for the records of a table: what answers them, and how much at the most."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES
from gossipreg.protocol.engine import Engine
from gossipreg.protocol.membership.paths import SIZE_MIN
from gossipreg.protocol.outputs import Transmit
from gossipreg.protocol.registry.records import Announcement, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.registry import Registry, announcement
from gossipreg.protocol.wire.messages import Message, pack
from tests.protocol.disseminating import CROWD, OF_OWNER, OWNER, B, acknowledge, asked, receivers, told_owner
from tests.protocol.making import BORN, address, history, instance, packet, said_to
from tests.protocol.test_engine import among


def whole(node: Engine) -> None:
    acknowledge(node, told_owner(node, *OF_OWNER), 6.001)
    node.handle_timeout(6.05)
    for _ in range(9):
        node.state.digests.piggyback(9, 6.1)


def test_a_request_is_answered_with_the_digest_what_was_deleted_and_the_records() -> None:
    node = among(B, *CROWD)
    whole(node)
    digest, *records = asked(node, RecordRequest(OWNER.name, BORN, 0))
    assert isinstance(digest, TableDigest)
    assert (digest.version, digest.gone) == (4, ("y",))
    assert records == [OF_OWNER[0], OF_OWNER[3]]
    assert node.counters[Count.REQUESTS_ANSWERED] == 1


def test_what_the_peer_has_is_left_out() -> None:
    node = among(B, *CROWD)
    whole(node)
    digest, *records = asked(node, RecordRequest(OWNER.name, BORN, 1, (4, 4)))
    assert isinstance(digest, TableDigest)
    assert digest.gone == ("y",)
    assert records == []


def test_the_answer_makes_the_table_whole() -> None:
    node, other = among(B, *CROWD), among(B, *CROWD)
    whole(node)
    told_owner(other, OF_OWNER[0], OF_OWNER[1])
    table = other.state.registry.table(OWNER.name)
    assert table is not None
    answer = asked(node, RecordRequest(OWNER.name, BORN, table.compacted_below, table.ranges()))
    other.receive(packet(B, *answer), B.address, 7.0)
    assert table.is_complete
    assert table.compacted_below == 4
    assert sorted(record.id for record in table) == ["x", "z"]


def test_of_a_table_that_is_not_whole_it_gives_what_it_has() -> None:
    node = among(B, *CROWD)
    told_owner(node, OF_OWNER[3])
    assert asked(node, RecordRequest(OWNER.name, BORN, 0)) == [OF_OWNER[3]]


def test_a_large_record_is_announced() -> None:
    node = among(B)
    registry = Registry("b")
    large, _ = registry.offer(instance("large", meta={str(n): "x" * 200 for n in range(20)}), BORN)
    node.state.take(large, 6.0, spread=False)
    assert asked(node, RecordRequest("b", BORN, 0))[1:] == [announcement(large)]


def test_a_record_that_fits_no_packet_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B)
    record, _ = Registry("b").offer(instance("middling", meta={str(n): "x" * 200 for n in range(4)}), BORN)
    node.state.take(record, 6.0, spread=False)
    node.outbox._room = 600
    assert [type(each) for each in asked(node, RecordRequest("b", BORN, 0))] == [TableDigest, Announcement]


@pytest.mark.parametrize("id_", ["x" * 255, "\N{GRINNING FACE}" * 63, "\N{GRINNING FACE}" * 255])
def test_a_removal_with_a_long_id_is_passed_on_and_requested_where_packets_are_smallest(id_: str) -> None:
    node = among(B, *CROWD)
    node.outbox._room = SIZE_MIN - 60
    node.state.message_room = node.outbox.room - RECEIPT_REQUEST_BYTES
    removal = Record(OWNER.name, BORN, 2, id_, 1, None)
    is_held = len(id_.encode()) <= limits.ID_CHARS_MAX
    assert bool(receivers(told_owner(node, removal))) == is_held
    assert asked(node, RecordRequest(OWNER.name, BORN, 0)) == [removal] * is_held


def test_a_stranger_and_a_request_of_an_unknown_table_get_no_answer() -> None:
    node = among(B, *CROWD)
    whole(node)
    stranger = node.receive(packet(99, RecordRequest(OWNER.name, BORN, 0)), address(9999), 7.0)
    assert not any(isinstance(each, Transmit) for each in stranger)
    assert asked(node, RecordRequest("unknown", BORN, 0)) == []
    assert asked(node, RecordRequest(OWNER.name, BORN + 1, 0)) == []


def test_one_request_is_answered_with_so_many_packets_at_the_most() -> None:
    node = among(B)
    registry = Registry("b")
    for number in range(200):
        record, _ = registry.offer(instance(f"i{number}", meta={"a": "x" * 100}), BORN)
        node.state.take(record, 6.0, spread=False)
    outputs = node.receive(packet(B, RecordRequest("b", BORN, 0)), B.address, 7.0)
    answered = [each for each in outputs if isinstance(each, Transmit) and each.to == B.address]
    assert len(answered) == limits.ANSWER_PACKETS_MAX
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1


def test_in_one_second_so_many_packets_answer_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PACKETS_PER_SECOND_MAX", 2)
    node = among(B, *CROWD)
    whole(node)
    answered = [bool(asked(node, RecordRequest(OWNER.name, BORN, 0), now=7.0)) for _ in range(3)]
    assert answered == [True, True, False]
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1
    assert asked(node, RecordRequest(OWNER.name, BORN, 0), now=7.5)


def holding(node: Engine, count: int, owner: str = "b") -> None:
    """Have ``node`` hold so many records of ``owner``, a hundred bytes each."""
    registry = Registry(owner)
    for number in range(count):
        record, _ = registry.offer(instance(f"i{number}"), BORN)
        assert node.state.take(record, 6.0, spread=False)


def packed(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """The messages that the disseminator packs from now on."""
    messages: list[Message] = []

    def note(message: Message) -> bytes:
        messages.append(message)
        return pack(message)

    monkeypatch.setattr("gossipreg.protocol.lazy_push.pack", note)
    return messages


def test_no_more_is_packed_for_a_request_than_its_packets_hold_and_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B)
    holding(node, 2000)
    messages = packed(monkeypatch)
    answered = asked(node, RecordRequest("b", BORN, 0))
    assert len(messages) == len(answered) + 1 < 200


def test_requests_for_one_table_in_one_packet_are_answered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    node = among(B, *CROWD)
    holding(node, 2000)
    whole(node)
    messages = packed(monkeypatch)
    again = [RecordRequest("b", BORN, version) for version in range(40)]
    answered = said_to(node.receive(packet(B, *again, RecordRequest(OWNER.name, BORN, 1)), B.address, 7.0), B.address)
    assert len(messages) == len(answered) + 1 < 200
    assert {each.owner for each in answered if isinstance(each, Record)} == {"b", OWNER.name}
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1 + 39, "the first in part, and those after it"
    assert asked(node, RecordRequest("b", BORN, 0)), "the next packet may ask again"


def test_a_request_that_brings_nothing_is_counted_as_a_packet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_PACKETS_PER_SECOND_MAX", 3)
    node = among(B, *CROWD)
    told_owner(node, OF_OWNER[3])
    for _ in range(3):
        assert asked(node, RecordRequest(OWNER.name, BORN, 4)) == []
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 0
    assert asked(node, RecordRequest(OWNER.name, BORN, 0)) == []
    assert node.counters[Count.REQUESTS_OVER_BUDGET] == 1
    assert asked(node, RecordRequest(OWNER.name, BORN, 0), now=8.0) == [OF_OWNER[3]]


def test_deletions_that_fill_more_than_a_packet_are_told_in_several_and_make_the_table_whole() -> None:
    ids = [f"{number:0255}" for number in range(20)]
    said = history([(id_, 1) for id_ in ids] + [(id_, None) for id_ in ids], owner=OWNER.name).said
    node, other = among(B, *CROWD), among(B, *CROWD)
    for record in said:
        told_owner(node, record)
        if record.payload is not None:
            told_owner(other, record)
    outputs = node.receive(packet(B, RecordRequest(OWNER.name, BORN, 20)), B.address, 7.0)
    answers = [each.data for each in outputs if isinstance(each, Transmit) and each.to == B.address]
    assert len(answers) > 1
    assert max(map(len, answers)) <= limits.PACKET_BYTES_MAX
    other.receive(packet(B, *said_to(outputs, B.address)), B.address, 7.0)
    table = other.state.registry.table(OWNER.name)
    assert table is not None
    assert (table.is_complete, table.compacted_below, len(table)) == (True, 40, 0)
