"""Streams carry frames both ways, end exactly once, and are closed if the peer is silent, slow or not a node."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from gossipreg import limits
from gossipreg.model import Address
from gossipreg.protocol.outputs import OpenStream
from gossipreg.protocol.wire.streams import NONCE_BYTES, StreamCodec
from gossipreg.runtime import streams as module
from gossipreg.runtime.streams import Streams
from tests.keyrings import ring_or_clear

KEY = bytes(range(32))


@attrs.define(eq=False)
class Side:
    """One node's streams, and what they told it."""

    streams: Streams
    address: Address
    frames: trio.MemoryReceiveChannel[tuple[int, bytes]]
    ended: trio.MemoryReceiveChannel[tuple[int, bool]]
    answer: Callable[[int, bytes], None] | None = None

    @property
    def counters(self) -> Counter[str]:
        return self.streams.counters

    def open(self, to: Address, frame: bytes = b"hello", *, stream: int = 1, patience: float = 5.0) -> None:
        self.streams.open(OpenStream(stream, to, frame, patience))

    async def heard(self) -> tuple[int, bytes]:
        with trio.fail_after(60):
            return await self.frames.receive()

    async def end(self) -> tuple[int, bool]:
        with trio.fail_after(60):
            return await self.ended.receive()


MakeSide = Callable[..., Side]


@pytest.fixture
def side(nursery: trio.Nursery) -> MakeSide:
    """Makes a side that accepts streams on loopback."""

    def make(*, cluster: str = "shop", key: bytes | None = None, patience: float = 5.0) -> Side:
        tell_frame, frames = trio.open_memory_channel[tuple[int, bytes]](1000)
        tell_end, ended = trio.open_memory_channel[tuple[int, bool]](1000)

        def on_frame(number: int, frame: bytes, _: Address) -> None:
            tell_frame.send_nowait((number, frame))
            if made.answer is not None:
                made.answer(number, frame)

        def on_end(number: int, refused: bool) -> None:
            tell_end.send_nowait((number, refused))

        listener = socket.socket()
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        streams = Streams(cluster, ring_or_clear(key), patience, Counter(), on_frame, on_end, nursery)
        made = Side(streams, Address(*listener.getsockname()), frames, ended)
        nursery.start_soon(streams.serve, listener)
        return made

    return make


@pytest.mark.parametrize("key", [None, KEY], ids=["clear", "sealed"])
async def test_frames_go_both_ways_and_each_side_hears_once_that_it_is_over(key: bytes | None, side: MakeSide) -> None:
    here, there = side(key=key), side(key=key)
    here.open(there.address, b"question", stream=7)
    number, frame = await there.heard()
    assert (frame, number < 0) == (b"question", True), "streams that others open are numbered downwards"
    there.streams.send(number, b"answer")
    assert await here.heard() == (7, b"answer")
    here.streams.close(7)
    assert await here.end() == (7, False)
    assert await there.end() == (number, False)
    await trio.testing.wait_all_tasks_blocked()
    assert here.ended.statistics().current_buffer_used == there.ended.statistics().current_buffer_used == 0


async def test_what_was_queued_is_sent_before_a_stream_closes(side: MakeSide) -> None:
    here, there = side(), side()
    here.open(there.address)
    number, _ = await there.heard()
    frames = [bytes([each]) * limits.FRAME_BYTES_MAX for each in range(20)]
    for each in frames:
        there.streams.send(number, each)
    there.streams.close(number)
    assert [(await here.heard())[1] for _ in frames] == frames
    assert await here.end() == (1, False)


async def test_nothing_is_heard_or_said_on_a_stream_that_is_being_closed(side: MakeSide) -> None:
    there = side()

    def close_and_answer(number: int, _: bytes) -> None:
        there.streams.close(number)
        there.streams.send(number, b"too late")

    there.answer = close_and_answer
    async with await trio.open_tcp_stream(*there.address) as stream:
        codec = await after_hello(stream)
        await stream.send_all(codec.frame(b"one") + codec.frame(b"two") + codec.frame(b"three"))
        assert await rest_of(stream) == b""
    assert (await there.heard())[1] == b"one"
    await there.end()
    assert there.frames.statistics().current_buffer_used == 0


async def after_hello(stream: trio.abc.Stream) -> StreamCodec:
    """Exchange hellos; returns the end of a well-behaved peer."""
    codec = StreamCodec("shop", None, os.urandom(NONCE_BYTES), opened_by_us=True)
    await stream.send_all(codec.hello())
    with trio.fail_after(60):
        while not codec.ready:
            codec.feed(bytes(await stream.receive_some()))
    return codec


async def rest_of(stream: trio.abc.Stream) -> bytes:
    """What still comes, until the other side closes."""
    received = b""
    with trio.fail_after(60):
        try:
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError:  # it closed with something of ours unread
            return received
    return received


# Whom it gives up


async def test_a_port_without_a_listener_is_reported_as_refused(side: MakeSide) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        unused_address = Address(*unused.getsockname())
        here = side()
        here.open(unused_address)
        assert await here.end() == (1, True)
    assert here.counters == {"streams_refused": 1}


async def test_a_peer_that_cannot_be_reached_in_time_is_given_up(side: MakeSide) -> None:
    here = side()
    here.open(here.address, patience=0)
    assert await here.end() == (1, False)
    assert here.counters["streams_not_connected"] == 1


@pytest.mark.parametrize(
    ("ours", "theirs", "counter"),
    [
        ({}, {"cluster": "other"}, "streams_wrong_cluster_or_corrupt"),
        ({"key": KEY}, {}, "streams_in_clear"),
        ({}, {"key": KEY}, "streams_sealed"),
        ({"key": KEY}, {"key": bytes(32)}, "streams_unknown_key"),
    ],
)
async def test_a_stranger_is_refused_and_counted_on_both_sides(
    ours: dict[str, bytes], theirs: dict[str, bytes], counter: str, side: MakeSide
) -> None:
    here, there = side(**ours), side(**theirs)
    there.open(here.address)
    assert await there.end() == (1, False)
    await here.end()
    assert here.counters == {counter: 1}
    assert here.frames.statistics().current_buffer_used == 0


@pytest.mark.parametrize("said", [b"", b"G", b"GREG\x01\x00"], ids=["nothing", "one byte", "half a hello"])
async def test_who_does_not_finish_his_hello_is_given_up(said: bytes, side: MakeSide) -> None:
    here = side(patience=0.05)
    async with await trio.open_tcp_stream(*here.address) as stream:
        await stream.send_all(said)
        await rest_of(stream)
    assert (await here.end())[1] is False
    assert here.counters["streams_silent"] == 1


async def test_who_drips_his_hello_gains_no_time(
    side: MakeSide, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    here = side(patience=5.0)
    async with in_memory(here, nursery) as stream:
        await stream.receive_some()  # it was accepted
        assert await dripped(here, stream, b"GREG\x01\x00") == 6.0
    assert here.counters == {"streams_silent": 1}


async def test_who_falls_silent_between_frames_is_given_up(side: MakeSide) -> None:
    here = side(patience=0.05)
    async with await trio.open_tcp_stream(*here.address) as stream:
        codec = await after_hello(stream)
        await stream.send_all(codec.frame(b"one")[:-1])
        await rest_of(stream)
    await here.end()
    assert here.counters["streams_silent"] == 1


async def test_who_does_not_read_is_given_up(side: MakeSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OUTBOX_FRAMES", 8)
    here = side()
    async with await trio.open_tcp_stream(*here.address) as stream:
        codec = await after_hello(stream)
        await stream.send_all(codec.frame(b"tell me all"))
        number, _ = await here.heard()
        for _ in range(20):
            here.streams.send(number, b"a lot")
        assert await here.end() == (number, False)
        here.streams.send(number, b"gone")
    assert here.counters == {"streams_too_slow": 1}


async def test_proven_streams_over_the_limit_are_turned_away_and_room_comes_back(
    side: MakeSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STREAMS_IN_MAX", 1)
    here = side()
    async with await trio.open_tcp_stream(*here.address) as first:
        await first.send_all((await after_hello(first)).frame(b"first"))
        assert (await here.heard())[1] == b"first"
        async with await trio.open_tcp_stream(*here.address) as second:
            await second.send_all((await after_hello(second)).frame(b"second"))
            assert await rest_of(second) == b""
        await here.end()
    assert here.counters["streams_over_limit"] == 1
    await here.end()
    async with await trio.open_tcp_stream(*here.address) as third:
        await third.send_all((await after_hello(third)).frame(b"third"))
        assert (await here.heard())[1] == b"third"


# What strangers can hold


class FakeSocket:
    """The socket of a stream that is in memory."""

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", 9

    def fileno(self) -> int:
        return -1


def in_memory(here: Side, nursery: trio.Nursery) -> trio.abc.Stream:
    """A peer's stream that ``here`` has accepted. It is in memory: time that jumps waits for no kernel."""
    theirs, ours = trio.testing.memory_stream_pair()
    ours.socket = FakeSocket()  # type: ignore[attr-defined]  # all of a socket's stream that is looked at

    async def serve() -> None:
        async with ours:
            await here.streams._accept(ours)  # type: ignore[arg-type]  # as a socket's stream

    nursery.start_soon(serve)
    return theirs


async def dripped(here: Side, stream: trio.abc.Stream, data: bytes) -> float:
    """Send a byte every two seconds until ``here`` gives the stream up; return the seconds until then."""
    began = trio.current_time()
    for byte in data:
        await stream.send_all(bytes([byte]))
        await trio.sleep(2)
        if here.ended.statistics().current_buffer_used:
            return trio.current_time() - began
    raise AssertionError("it was never given up")


async def test_a_hello_earns_time_for_one_frame_and_bytes_earn_none(
    side: MakeSide, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    here = side(key=KEY, patience=5.0)
    async with in_memory(here, nursery) as stream:
        theirs = await stream.receive_some()
        await stream.send_all(theirs[:6] + os.urandom(NONCE_BYTES) + theirs[22:])  # the key's id, as it was read
        assert await dripped(here, stream, b"\0\2\0\0" + bytes(100)) <= 2 * 5.0 + 2
    assert here.counters == {"streams_silent": 1}


async def test_a_proven_peer_has_so_long_for_each_frame_however_it_drips(
    side: MakeSide, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    here = side(patience=5.0)
    here.answer = lambda number, _: here.streams.keep(number)  # it may be silent, but not half-way through a frame
    async with in_memory(here, nursery) as stream:
        codec = await after_hello(stream)
        await stream.send_all(codec.frame(b"authentic"))
        await here.heard()
        await trio.sleep(3600)
        took = await dripped(here, stream, codec.frame(bytes(100)))
    assert took == pytest.approx(limits.FRAME_SECONDS_MAX, abs=4)
    assert here.counters == {"streams_silent": 1}


async def test_a_large_frame_over_a_slow_network_arrives(
    side: MakeSide, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    here = side(patience=5.0)
    async with in_memory(here, nursery) as stream:
        codec = await after_hello(stream)
        await stream.send_all(codec.frame(b"authentic"))
        await here.heard()
        frame = codec.frame(bytes(limits.FRAME_BYTES_MAX))
        for start in range(0, len(frame), 40_000):
            await stream.send_all(frame[start : start + 40_000])
            await trio.sleep(4)
        number, body = await here.heard()
        assert len(body) == limits.FRAME_BYTES_MAX
        here.streams.close(number)
        await rest_of(stream)


async def test_strangers_that_hold_every_place_keep_no_member_out(side: MakeSide) -> None:
    here, member = side(key=KEY), side(key=KEY)
    async with trio.open_nursery() as nursery:
        stack = [await trio.open_tcp_stream(*here.address) for _ in range(limits.STREAMS_UNPROVEN_MAX + 63)]
        for stream in stack:
            theirs = await stream.receive_some()
            await stream.send_all(theirs[:6] + os.urandom(NONCE_BYTES) + theirs[22:])
        assert here.counters == {"streams_gave_way": 63}
        member.open(here.address, b"let me in")
        assert (await here.heard())[1] == b"let me in"
        assert here.counters == {"streams_gave_way": 64}
        for stream in stack:
            nursery.start_soon(trio.aclose_forcefully, stream)


async def test_a_peer_that_dies_in_the_middle_is_no_trouble(side: MakeSide) -> None:
    here = side()
    stream = await trio.open_tcp_stream(*here.address)
    codec = await after_hello(stream)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # closing resets
    await stream.send_all(codec.frame(b"one") + b"\0\0")
    number, _ = await here.heard()
    await trio.aclose_forcefully(stream)
    assert await here.end() == (number, False)
    assert here.counters["streams_broken"] == 1
