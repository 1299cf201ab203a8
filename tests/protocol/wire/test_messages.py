"""Which bytes are messages: all that this version or a later one writes, and no others."""

from __future__ import annotations

import struct
from typing import Any

import attrs
import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import Address, Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End, KeepOpen, Listing, Want
from gossipreg.protocol.dissemination.receipts import Receipt, ReceiptRequest
from gossipreg.protocol.membership.identity import NameConflictQuery
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.observations import LINKS, ObservationRequest, Observations
from gossipreg.protocol.membership.paths import SIZE_MIN
from gossipreg.protocol.membership.probe import Ack, Nack, Ping, PingReq
from gossipreg.protocol.registry.policy_version import PolicyVersion
from gossipreg.protocol.registry.records import Announcement, Fetch, Record, RecordRequest, TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import (
    MESSAGES_MAX,
    SENDER_BYTES,
    Message,
    message_of,
    pack,
    pack_sender,
    read_message,
)
from gossipreg.protocol.wire.reader import Reader, unpack
from tests.protocol.making import law, packet, update, updates

names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
u8, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 32, 64))
counts = st.integers(0, 2**53 - 1)
ids = st.text(min_size=1, max_size=20)
digests = st.lists(u64, max_size=5).map(tuple)

messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Ping, u32, u64, u64),
    st.builds(Ack, u32, u64, u64),
    st.builds(Nack, u32),
    st.builds(PingReq, u32, u64, u32),
    updates(names),
    st.builds(
        MemberUpdate, names, counts, u32, st.just(0), st.builds(Address, st.just("2001:db8::1"), st.just(65_535))
    ),
    st.builds(NameConflictQuery, names, u64, counts, st.booleans()),
    st.builds(Record, names, counts, counts, ids, u64, st.one_of(st.none(), st.binary(min_size=1, max_size=50))),
    st.builds(Announcement, names, counts, counts, ids, u64, u64, u32),
    st.builds(TableDigest, names, counts, counts, u64, st.lists(ids, max_size=4).map(tuple)),
    st.builds(Fetch, names, counts, counts, ids),
    st.builds(Compare, st.lists(u64, min_size=BUCKETS, max_size=BUCKETS).map(tuple)),
    st.builds(Listing, u8, digests),
    st.builds(Want, u8, digests),
    st.just(End()),
    st.just(KeepOpen()),
    st.builds(
        PolicyVersion,
        st.text("abc:-1", min_size=1),
        counts,
        st.integers(0, 2**16 - 1),
        names,
        st.one_of(st.none(), st.binary(min_size=1, max_size=50)),
    ),
    st.builds(TermRegister, names, counts, st.integers(0, 2**16 - 1), st.just("") | names, counts, counts),
    st.builds(ReceiptRequest, st.integers(0, 2**32 - 1)),
    st.builds(Receipt, st.lists(st.integers(0, 2**32 - 1), max_size=9).map(tuple)),
    st.builds(
        RecordRequest,
        names,
        counts,
        counts,
        st.lists(counts, max_size=9).map(lambda bounds: tuple(sorted(bounds)[: len(bounds) // 2 * 2])),
    ),
    st.just(ObservationRequest()),
    st.builds(
        Observations,
        st.text(max_size=9),
        st.lists(st.text(max_size=9), max_size=3).map(tuple),
        st.lists(
            st.tuples(names, st.integers(0, 3), st.integers(0, len(LINKS) - 1), st.integers(0, 2**32 - 1)), max_size=4
        ).map(tuple),
    ),
)

#: Anything that msgpack can say, as a later version may.
anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=9),
        st.binary(max_size=9),
        st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=9)),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=8,
)


def read(data: bytes) -> list[Message] | None:
    """The messages, or None where there is only junk; whatever else happens fails the test."""
    reader = Reader()
    try:
        _, heard = reader.read(data)
    except Junk:
        return None
    return heard if heard or not reader.junk else None


def read_past_junk(data: bytes) -> tuple[list[Message], int]:
    """The messages, and how much was left out."""
    reader = Reader()
    _, heard = reader.read(data)
    return heard, reader.junk


def fields_of(message: Message) -> list[Any]:
    """The message as its bytes say it."""
    fields: list[Any] = msgpack.unpackb(pack(message), use_list=True)
    return fields


@law
@given(u64, st.lists(messages, max_size=6))
def test_what_was_packed_is_unpacked(sender: int, said: list[Message]) -> None:
    assert unpack(packet(sender, *said)) == (sender, said)


@law
@given(messages)
def test_one_message_is_read_by_itself(said: Message) -> None:
    assert message_of(pack(said)) == said


def test_the_signatures_of_several_accusers_travel_each_with_its_run() -> None:
    said = attrs.evolve(update("b", Status.SUSPECT), proof=bytes(200), witnesses=((7, bytes(64)), (8, b"s" * 64)))
    [heard] = unpack(packet(1, said))[1]
    assert isinstance(heard, MemberUpdate)
    assert (heard.proof, heard.witnesses) == (said.proof, said.witnesses)


@law
@given(updates(names))
def test_who_accuses_and_how_long_ago_it_was_travel_too(said: MemberUpdate) -> None:
    [heard] = unpack(packet(1, said))[1]
    assert isinstance(heard, MemberUpdate)
    assert (heard.accuser, heard.age) == (said.accuser, said.age)


@law
@given(st.binary(max_size=300))
@example(b"")
@example(b"1234567")
def test_any_bytes_are_messages_or_junk(data: bytes) -> None:
    read(data)
    read(pack_sender(1) + data)


@law
@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_a_real_packet_with_some_bytes_changed_is_messages_or_junk(said: list[Message], data: st.DataObject) -> None:
    changed = bytearray(packet(1, *said))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(u8)
    read(bytes(changed))


@law
@given(messages, st.data())
def test_a_message_with_any_field_replaced_by_anything_is_a_message_or_junk(said: Message, data: st.DataObject) -> None:
    fields = fields_of(said)
    fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(anything)
    read(pack_sender(1) + msgpack.packb(fields))


@law
@given(messages, messages, st.data())
def test_of_a_packet_cut_off_in_a_message_what_came_before_is_read(
    first: Message, second: Message, data: st.DataObject
) -> None:
    whole = packet(1, first, second)
    end = data.draw(st.integers(SENDER_BYTES + len(pack(first)) + 1, len(whole) - 1))
    assert read_past_junk(whole[:end]) == ([first], 1)


def test_a_packet_without_messages_is_none_but_not_junk() -> None:
    assert unpack(pack_sender(5)) == (5, [])


# What a later version may send


@law
@given(messages, st.lists(anything, min_size=1, max_size=3))
def test_fields_beyond_those_we_know_are_skipped(said: Message, later: list[Any]) -> None:
    assert unpack(pack_sender(1) + msgpack.packb(fields_of(said) + later))[1] == [said]


@law
@given(messages, st.integers(64, 2**63), st.lists(anything, max_size=3))
def test_kinds_that_we_do_not_know_are_skipped(said: Message, kind: int, fields: list[Any]) -> None:
    assert unpack(packet(1, said) + msgpack.packb([kind, *fields]) + pack(said))[1] == [said, said]


@law
@given(messages)
def test_a_message_that_lacks_a_field_is_junk(said: Message) -> None:
    fields = fields_of(said)
    if len(fields) > 1:
        assert read(pack_sender(1) + msgpack.packb(fields[:-1])) is None


# Bounds


@pytest.mark.parametrize("depth", [2, 100, 1000, 1020, 5000, 200_000])
@pytest.mark.parametrize("opening", [b"\x91", b"\xdd\x00\x00\x00\x01", b"\x81\xa1k"])
def test_deep_nesting_raises_nothing_but_junk(depth: int, opening: bytes) -> None:
    deep = opening * depth + b"\xc0"
    assert read(pack_sender(1) + deep) is None
    assert read(pack_sender(1) + b"\x92\x63" + deep) in ([], None)


@pytest.mark.parametrize(
    "huge",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdd\x00\x01\x86\xa0" * 1000,
        b"\x9f",
        b"\xc1",
        b"\x92\x0e\xd9\x02\xff\xff",
        b"\x92\x0e\xd7\xff" + b"\xff" * 8,
    ],
)
def test_lengths_and_bytes_that_lie_are_junk(huge: bytes) -> None:
    assert read(pack_sender(1) + huge) is None


def test_more_than_a_frame_is_junk() -> None:
    record = Record("b", 1, 1, "x", 0, bytes(limits.RECORD_BYTES_MAX))
    assert read_past_junk(packet(1, record, record, record)) == ([record] * 3, 0)
    assert read_past_junk(packet(1, record, record, record, record)) == ([], 1)


def test_a_record_over_its_limit_is_junk() -> None:
    assert read(packet(1, Record("b", 1, 1, "x", 0, bytes(limits.RECORD_BYTES_MAX + 1)))) is None
    assert read(packet(1, Record("b", 1, 1, "x", 0, b""))) is None


def test_messages_beyond_the_limit_of_a_packet_are_left_out() -> None:
    assert read_past_junk(packet(1, *[End()] * MESSAGES_MAX)) == ([End()] * MESSAGES_MAX, 0)
    assert read_past_junk(packet(1, *[End()] * (MESSAGES_MAX + 2))) == ([End()] * MESSAGES_MAX, 1)


def test_a_listing_fits_a_frame_and_a_longer_one_is_junk() -> None:
    full = packet(1, Listing(0, (2**64 - 1,) * limits.LISTING_DIGESTS_MAX))
    assert len(full) < limits.FRAME_BYTES_MAX
    assert read(full) is not None
    assert read(packet(1, Listing(0, (1,) * (limits.LISTING_DIGESTS_MAX + 1)))) is None


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        None,
        7,
        [None],
        ["1", 2, 3, 4],
        [True, 2, 3, 4],
        [1],
        [1, -1, 0, 0],
        [1, 2**32, 0, 0],
        [1, 1.0, 0, 0],
        [1, True, 0, 0],
        [6, "", 1, 1, True],
        [6, "-b", 1, 1, True],
        [6, "b" * 64, 1, 1, True],
        [6, b"b", 1, 1, True],
        [6, "b", 1, 1, 1],
        [6, "b", 1, 2**53, True],
        [7, "b", 1, 1, "", 0, None],
        [7, "b", 1, 1, "x" * 256, 0, None],
        [7, "b", 1, 1, "x", 0, "text"],
        [9, "b", 1, 1, 0, "x"],
        [10],
        [10, b"\0" * (8 * BUCKETS - 1)],
        [10, "\0" * 8 * BUCKETS],
        [11, 256, []],
        [5, "b", 1, 0, 4, "10.0.0.1", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, True, "10.0.0.1", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "example.org", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "fe80::1%eth0", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "1" * 1000, 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, 167772161, 1, "", False, 0, 0, False],
        [5, "b", 1, 2**32, 0, "10.0.0.1", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "10.0.0.1", 0, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "224.0.0.1", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "ff02::1", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "::ffff:224.0.0.1", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "0.0.0.0", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "::", 1, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "255.255.255.255", 1, "", False, 0, 0, False],
        [16, "split:a b", 1, 2, "b", None],
        [16, "split:a\nb", 1, 2, "b", None],
        [5, "b", 1, 0, 0, "10.0.0.1", 65_536, "", False, 0, 0, False],
        [5, "b", 1, 0, 0, "10.0.0.1", 1, "-", False, 0, 0, False],
        [5, "b", 1, 0, 0, "10.0.0.1", 1, None, False, 0, 0, False],
        [5, "b", 1, 0, 0, "10.0.0.1", 1, "", 0, 0, 0, False],
        [5, "b", 1, 0, 0, "10.0.0.1", 1, "", False, 0, 0, 0],
        [5, "b", 1, 0, 0, "10.0.0.1", 1, "", False, 0, 0],
        [16, "", 1, 2, "b", b"p"],
        [16, "split:ördérs", 1, 2, "b", b"p"],
        [16, "split:orders", 1, 2, "b", b""],
        [16, "split:orders", 1, 2, "b", "p"],
    ],
)
def test_what_is_out_of_its_type_or_bounds_is_junk(value: object) -> None:
    assert read(pack_sender(1) + msgpack.packb(value)) is None


def test_an_update_and_a_word_like_those_but_in_bounds_are_none() -> None:
    for value in (
        [5, "b", 1, 0, 0, "10.0.0.1", 1, "", False, 0, 0, False],
        [16, "split:orders", 1, 2, "b", b"p"],
        [16, "split:orders", 1, 2, "b", None],
    ):
        assert read(pack_sender(1) + msgpack.packb(value)) is not None


@law
@given(messages, messages, st.lists(anything, min_size=1, max_size=4))
def test_a_message_that_cannot_be_read_spoils_no_other(before: Message, after: Message, bad: list[Any]) -> None:
    """Were the whole packet dropped, one value out of bounds would silence whatever shares packets with it."""
    spoilt = pack_sender(1) + pack(before) + msgpack.packb([3, "no number", *bad]) + pack(after)
    assert read_past_junk(spoilt) == ([before, after], 1)


@pytest.mark.parametrize(
    ("packed", "message"),
    [
        ([9, "b", 1, 1, 0, ["x", 1, "", "y"]], TableDigest("b", 1, 1, 0, ("x", "y"))),
        ([11, 1, [2, -1, "x", 3]], Listing(1, (2, 3))),
        ([12, 1, [None, 3, 2**64 - 1, 1.5]], Want(1, (3, 2**64 - 1))),
    ],
)
def test_an_item_that_cannot_be_read_spoils_no_list(packed: list[Any], message: Message) -> None:
    assert read_past_junk(pack_sender(1) + msgpack.packb(packed)) == ([message], 2)


# Layout


def test_the_bytes_are_those_that_other_versions_know() -> None:
    """Numbers are never reused and fields are only added at the end: if this fails, old nodes are locked out."""
    zone = attrs.evolve(update("b", zone="z", accuser=9, age=4), draining=True)
    layout = {
        Ping(1, 2, 3): [1, 1, 2, 3],
        Ack(1, 2, 3): [2, 1, 2, 3],
        Nack(1): [3, 1],
        PingReq(1, 2, 3): [4, 1, 2, 3],
        zone: [5, "b", zone.generation, 0, 0, "10.0.0.1", 7001, "z", True, 9, 4, False],
        NameConflictQuery("b", 1, 2, announced=True): [6, "b", 1, 2, True],
        Record("b", 1, 2, "x", 3, b"p"): [7, "b", 1, 2, "x", 3, b"p"],
        Announcement("b", 1, 2, "x", 3, 4, 5): [8, "b", 1, 2, "x", 3, 4, 5],
        TableDigest("b", 1, 2, 3, ("x",)): [9, "b", 1, 2, 3, ["x"]],
        Compare(tuple(range(BUCKETS))): [10, struct.pack(f">{BUCKETS}Q", *range(BUCKETS))],
        Listing(1, (2, 3)): [11, 1, [2, 3]],
        Want(1, (2, 3)): [12, 1, [2, 3]],
        Fetch("b", 1, 2, "x"): [13, "b", 1, 2, "x"],
        End(): [14],
        KeepOpen(): [15],
        PolicyVersion("split:orders", 1, 2, "b", b"p"): [16, "split:orders", 1, 2, "b", b"p"],
        TermRegister("pg", 1, 2, "b", 3, 4): [17, "pg", 1, 2, "b", 3, 4],
    }
    assert list(map(fields_of, layout)) == list(layout.values())  # type: ignore[arg-type]
    assert pack_sender(258) == b"\0\0\0\0\0\0\1\2"


@pytest.mark.parametrize("host", ["example.com", "10.0.0", "fe80::1%eth0", ""])
def test_a_name_where_an_address_should_be_is_junk(host: str) -> None:
    assert read(packet(1, attrs.evolve(update("b"), address=Address(host, 1)))) is None


@pytest.mark.parametrize("ranges", [None, [1], [2, 1], [1, 5, 4, 9], [-1, 1], [1, "2"], [1, 1] * limits.RANGES_MAX])
def test_ranges_that_are_not_in_order_or_too_many_are_junk(ranges: Any) -> None:
    with pytest.raises(Junk):
        message_of(msgpack.packb([21, "b", 1, 1, ranges]))


def test_the_largest_tombstone_digest_and_announcement_fit_the_smallest_packet() -> None:
    most, id_ = (1 << 53) - 1, "\N{GRINNING FACE}" * (limits.ID_CHARS_MAX // 4) + "..."
    owner = "n" * limits.NAME_CHARS_MAX
    for message in (
        Record(owner, most, most, id_, (1 << 64) - 1, None),
        TableDigest(owner, most, most, (1 << 64) - 1, (id_,)),
        Announcement(owner, most, most, id_, (1 << 64) - 1, (1 << 64) - 1, limits.RECORD_BYTES_MAX),
    ):
        assert message_of(pack(message)) == message
        assert len(pack(message)) <= SIZE_MIN - 100, "what goes around it has a hundred bytes"
    with pytest.raises(Junk):
        message_of(pack(Record(owner, most, most, id_ + ".", 0, None)))


def test_an_observation_that_cannot_be_read_is_left_out_and_a_long_version_is_junk() -> None:
    good = ["b", 0, 1, 7]
    bad = [["b", 0, 1], "b", ["b", 0, len(LINKS), 7], ["b", 9, 0, 7], ["?", 0, 0, 7]]
    read_, unreadable = read_message(msgpack.packb([23, "1", [], [*bad, good]]))
    assert read_ == Observations("1", (), (("b", 0, 1, 7),))
    assert unreadable == len(bad)
    told, unreadable = read_message(msgpack.packb([23, "1", [], [[*good, 0, "later"], [*good, 255], [*good, 256]]]))
    assert told == Observations("1", (), (("b", 0, 1, 7), ("b", 0, 1, 7, 255)))
    assert unreadable == 1
    for version in (7, "x" * (limits.OBSERVER_PROBLEM_CHARS_MAX + 1)):
        with pytest.raises(Junk):
            read_message(msgpack.packb([23, version, [], []]))
