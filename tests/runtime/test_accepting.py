"""A server that is short of descriptors serves on; one that is flooded serves each source in turn."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections import Counter

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg.counters import Count
from gossipreg.runtime.accepting import BEGUN_AT_ONCE, COMPLAINT_SECONDS, RETRY_SECONDS, Arrivals, serve


@attrs.define(eq=False)
class FakeStream(trio.abc.AsyncResource):
    """A connection that was accepted."""

    closed: bool = False

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


@attrs.define(eq=False)
class FakeListener(trio.abc.Listener[FakeStream]):
    """Gives what it was told to give, an error number or a connection, and then waits."""

    given: list[int | FakeStream]
    tries: list[float] = attrs.field(factory=list)
    closed: bool = False

    async def accept(self) -> FakeStream:
        self.tries.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if not self.given:
            await trio.sleep_forever()
        match self.given.pop(0):
            case int(number):
                raise OSError(number, os.strerror(number))
            case stream:
                return stream

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def served(listener: FakeListener, seconds: float, counters: Counter[str] | None = None) -> list[FakeStream]:
    """The connections that were handled within so many seconds."""
    handled: list[FakeStream] = []

    async def handle(stream: FakeStream) -> None:
        await trio.lowlevel.checkpoint()
        handled.append(stream)

    with trio.move_on_after(seconds):
        await serve(handle, [listener], Counter() if counters is None else counters, Count.STREAMS_NOT_ACCEPTED)
    return handled


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_connection_that_finds_no_descriptor_is_tried_again(number: int, autojump_clock: MockClock) -> None:
    begin, stream = trio.current_time(), FakeStream()
    listener = FakeListener([number, number, stream])
    counters: Counter[str] = Counter()
    assert await served(listener, 1.0, counters) == [stream]
    assert counters == {"streams_not_accepted": 2}
    assert listener.tries[:3] == [pytest.approx(begin + turn * RETRY_SECONDS) for turn in range(3)]


async def test_it_is_logged_once_a_minute_without_a_traceback(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    tries = round(2.5 * COMPLAINT_SECONDS / RETRY_SECONDS)
    with caplog.at_level(logging.INFO):
        await served(FakeListener([errno.EMFILE] * tries), 3 * COMPLAINT_SECONDS)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    assert all(record.exc_info is None for record in caplog.records)
    assert "Too many open files" in caplog.text


async def test_connections_and_listeners_are_closed_in_the_end(autojump_clock: MockClock) -> None:
    stream = FakeStream()
    listener = FakeListener([stream])
    await served(listener, 1.0)
    assert stream.closed
    assert listener.closed


async def test_any_other_error_is_raised(autojump_clock: MockClock) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Bad file")):
        await served(FakeListener([errno.EBADF]), 1.0)


async def test_connections_that_came_together_are_accepted_together() -> None:
    count, turns = 30, 0
    handled = 0
    all_connected = trio.Event()

    async def handle(_: trio.SocketStream) -> None:
        nonlocal handled
        handled += 1
        if handled == count:
            all_connected.set()
        await trio.lowlevel.checkpoint()

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    clients = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        nursery.start_soon(serve, handle, listeners, Counter(), Count.STREAMS_NOT_ACCEPTED)
        with trio.fail_after(60):
            await all_connected.wait()
        nursery.cancel_scope.cancel()
    assert turns < count / 2
    for client in clients:
        await client.aclose()


async def test_a_source_that_floods_the_listener_does_not_keep_another_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of 200 connections of one source and, after them, one of another, the other is served among the first."""
    served: list[str] = []
    counters: Counter[str] = Counter()
    done = trio.Event()

    async def handle(stream: trio.SocketStream) -> None:
        await trio.lowlevel.checkpoint()
        served.append(stream.socket.getpeername()[0])
        if len(served) + counters["http_not_accepted"] == 201:
            done.set()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=512)
    at = listeners[0].socket.getsockname()
    flood = [socket.create_connection(at, source_address=("127.0.0.8", 0)) for _ in range(200)]
    other = socket.create_connection(at, source_address=("127.0.0.9", 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, handle, listeners, counters, Count.HTTP_NOT_ACCEPTED, 150)
        with trio.fail_after(60):
            await done.wait()
        nursery.cancel_scope.cancel()
    assert "127.0.0.9" in served[: 4 * BEGUN_AT_ONCE]
    assert counters["http_not_accepted"] > 0
    assert caplog.text.count("150 wait to be served") == 1
    for client in [*flood, other]:
        client.close()


class FakeSocket(socket.socket):
    """A connection that waits; its name tells it apart."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name


def waiting(arrivals: Arrivals) -> list[str]:
    """The names of all that wait, in the order in which they are served; all are closed."""
    names = []
    while arrivals:
        with arrivals.take() as taken:
            assert isinstance(taken, FakeSocket)
            names.append(taken.name)
    return names


def test_sources_are_served_in_turn() -> None:
    arrivals = Arrivals(most=6)
    for source in "aaabbc":
        assert arrivals.add(source, FakeSocket(source)) is None
    assert waiting(arrivals) == list("abcaba")


def test_the_last_of_the_source_with_most_gives_way_to_a_source_with_fewer() -> None:
    arrivals = Arrivals(most=3)
    for name in ("a1", "a2", "a3"):
        assert arrivals.add("a", FakeSocket(name)) is None
    victim = arrivals.add("b", FakeSocket("b1"))
    assert isinstance(victim, FakeSocket)
    assert victim.name == "a3"
    victim.close()
    with FakeSocket("a4") as late:
        assert arrivals.add("a", late) is late
    assert len(arrivals) == 3
    assert waiting(arrivals) == ["a1", "b1", "a2"]


def test_what_waits_is_closed_in_the_end() -> None:
    arrivals = Arrivals(most=1)
    waiting_ = FakeSocket("a1")
    arrivals.add("a", waiting_)
    arrivals.close()
    assert waiting_.fileno() == -1
    assert not arrivals
