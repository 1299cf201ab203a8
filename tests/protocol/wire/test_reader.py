"""The reader gives the same messages whatever it read before."""

from __future__ import annotations

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.wire import reader as module
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg.protocol.wire.reader import READ_MAX, Reader, unpack
from tests.protocol.making import law, packet, update
from tests.protocol.wire.test_messages import messages

packets = st.lists(messages, max_size=4).map(lambda said: packet(7, *said))


def spoilt(data: bytes, cut: int, flip: int) -> bytes:
    kept = bytearray(data[: cut or None])
    if kept:
        kept[flip % len(kept)] ^= 1 + flip % 255
    return bytes(kept)


def heard(reader: Reader, data: bytes) -> tuple[int, list[Message], bool] | None:
    try:
        return (*reader.read(data), reader.junk > 0)
    except Junk:
        return None


@law
@given(st.lists(st.one_of(packets, st.builds(spoilt, packets, st.integers(-9, 0), st.integers(0, 999)), st.binary())))
def test_what_was_read_before_changes_nothing(datas: list[bytes]) -> None:
    reader = Reader()
    for data in [*datas, *datas]:
        assert heard(reader, data) == heard(Reader(), data)


def test_what_is_heard_again_is_the_very_same_message() -> None:
    reader = Reader()
    news = update("b")
    [first] = reader.read(packet(1, news))[1]
    _, again = reader.read(packet(2, Ping(1, 2, 3), news))[1]
    assert again is first


def test_a_kind_that_is_not_known_is_skipped_the_second_time_too() -> None:
    later = pack_sender(1) + msgpack.packb([99, "x" * 40])
    reader = Reader()
    assert reader.read(later) == reader.read(later) == (1, [])


def test_no_more_is_remembered_than_is_allowed() -> None:
    reader = Reader()
    for number in range(3 * READ_MAX):
        reader.read(packet(1, update("b", incarnation=number)))
    assert len(reader._young) + len(reader._old) <= READ_MAX
    [first] = reader.read(packet(1, update("b", incarnation=3 * READ_MAX - 1)))[1]
    assert reader.read(packet(1, update("b", incarnation=3 * READ_MAX - 1)))[1][0] is first


def test_pings_are_not_remembered_for_none_comes_twice() -> None:
    reader = Reader()
    reader.read(packet(1, Ping(2**32 - 1, 2**64 - 1, 2**64 - 1)))
    assert not reader._young
    assert len(pack(Ping(2**32 - 1, 2**64 - 1, 2**64 - 1))) not in module._WORTH_REMEMBERING


def test_after_junk_it_reads_on() -> None:
    reader = Reader()
    good = packet(1, update("b"))
    assert heard(reader, good[:-1]) == (1, [], True)
    assert reader.read(good) == unpack(good)
    assert reader.junk == 0


def test_junk_is_counted_each_time_although_it_is_decoded_once() -> None:
    reader = Reader()
    junk = packet(1, update("b")) + msgpack.packb([3, "x" * 40])
    for _ in range(3):
        assert heard(reader, junk) == (1, [update("b")], True)


def test_what_was_read_a_while_ago_is_still_the_very_same_message() -> None:
    reader = Reader(room=4)
    [first] = reader.read(packet(1, update("b")))[1]
    reader.read(packet(1, update("b", incarnation=1), update("b", incarnation=2)))
    assert reader.read(packet(1, update("b")))[1][0] is first
