"""What becomes of a connection: data in both directions, idleness, and the end of either side."""

from __future__ import annotations

import errno
import socket

import pytest
import trio
from trio.testing import MockClock

from gossipreg.frontends.proxy.backend import key_of
from tests.frontends.proxy.callers import ends, held
from tests.frontends.proxy.conftest import Stage, call, until
from tests.frontends.proxy.making import added, removed


async def test_each_direction_ends_by_itself(stage: Stage) -> None:
    async def listen_then_talk(stream: trio.SocketStream) -> None:
        apply = b"".join([bytes(part) async for part in stream])
        await stream.send_all(b"heard " + apply)
        await stream.send_eof()

    async def talk_then_listen(stream: trio.SocketStream) -> None:
        await stream.send_all(b"hello")
        await stream.send_eof()
        apply.append(b"".join([bytes(part) async for part in stream]))

    apply: list[bytes] = []
    for handler, expected in ((listen_then_talk, b"heard question"), (talk_then_listen, b"hello")):
        _, address = await stage.proxy(await stage.instance("a", handler))
        async with await trio.open_tcp_stream(*address) as stream:
            if handler is listen_then_talk:
                await stream.send_all(b"question")
                await stream.send_eof()
                assert b"".join([bytes(part) async for part in stream]) == expected
            else:
                assert b"".join([bytes(part) async for part in stream]) == expected
                await stream.send_all(b"late")
    await until(lambda: apply == [b"late"])


async def test_everything_gets_through_both_ways_at_once(stage: Stage) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"))
    sent = bytes(range(256)) * 20_000
    async with await trio.open_tcp_stream(*address) as stream, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def talk() -> None:
            await stream.send_all(sent)
            await stream.send_eof()

        assert b"".join([bytes(part) async for part in stream]) == sent
    await until(lambda: proxy.open == 0)
    assert proxy.counters["bytes_in"] == proxy.counters["bytes_out"] == len(sent)
    assert proxy.counters["finished"] == 1


async def test_a_reader_that_stops_slows_the_writer_down(stage: Stage) -> None:
    given = 0

    async def pour(stream: trio.SocketStream) -> None:
        nonlocal given
        with trio.move_on_after(10):
            while True:
                await stream.send_all(bytes(65_536))
                given += 65_536

    proxy, address = await stage.proxy(await stage.instance("a", pour))
    async with await trio.open_tcp_stream(*address):
        await until(lambda: given > 0)
        before = -1
        while before != given:  # until nothing moves for a while
            before = given
            await trio.sleep(0.1)
    assert 0 < given < 64 * 1024 * 1024
    await until(lambda: proxy.open == 0)


@pytest.mark.parametrize("broken_side", ["the caller", "the instance"])
async def test_a_connection_that_breaks_is_reset_on_the_other_side(stage: Stage, broken_side: str) -> None:
    apply = trio.Event()
    fate: list[str] = []

    async def serve(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        apply.set()
        if broken_side == "the instance":
            linger_not(stream)
        else:
            fate.append(await ends(stream))

    def linger_not(stream: trio.SocketStream) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))

    _, address = await stage.proxy(await stage.instance("a", serve))
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await apply.wait()
        if broken_side == "the caller":
            linger_not(stream)
        else:
            fate.append(await ends(stream))
    await until(lambda: bool(fate))
    assert fate == ["reset"]


async def test_an_idle_connection_is_cut_and_one_in_use_is_not(stage: Stage, mock_clock: MockClock) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), idle_timeout=200)
    async with await trio.open_tcp_stream(*address) as stream:
        for _ in range(4):
            await stream.send_all(b"x")
            assert await stream.receive_some() == b"x"
            mock_clock.jump(199)
        while not proxy.counters["idle"]:  # twice, if the kernel was still sending
            mock_clock.jump(200)
            await trio.testing.wait_all_tasks_blocked()
        assert await ends(stream) == "reset"


async def test_a_connection_to_an_instance_that_is_gone_may_end_in_the_drain_time(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=5)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.apply([removed(a)])
        assert await call(address) == ""
        await stream.send_all(b"still here")
        assert await stream.receive_some() == b"still here"
        await stream.send_eof()
        assert await ends(stream) == "whole"
    await until(lambda: proxy.counters["finished"] == 1)


async def test_it_is_cut_after_the_drain_time(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=0.05)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.apply([removed(a)])
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["drained"] == 1)


async def test_an_instance_that_was_gone_for_a_moment_keeps_its_connections(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=0.1)
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_all(b"x")
        await stream.receive_some()
        proxy.apply([removed(a)])
        proxy.apply([added(a)])
        await trio.sleep(0.3)
        await stream.send_all(b"y")
        assert await stream.receive_some() == b"y"


async def test_in_panic_the_last_known_are_tried(stage: Stage) -> None:
    a = await stage.named("a")
    proxy, address = await stage.proxy(a, panic=True)
    proxy.apply([removed(a)])
    assert await call(address) == "a"


async def test_a_connection_that_a_bug_ends_is_counted_as_that(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proxy, address = await stage.proxy(await stage.named("a"))

    async def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("gossipreg.frontends.proxy.relay.Relay._copy", broken)
    assert await call(address) == ""
    await until(lambda: proxy.counters["failed"] == 1)
    assert proxy.counters["drained"] == 0
    assert "because of a bug" in caplog.text
    sticky, address = await stage.proxy(await stage.named("a"), sticky="source")
    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.plain_host", lambda _: 1 / 0)
    assert await call(address) == ""
    await until(lambda: sticky.counters["failed"] == 1)
    assert (sticky.counters["accepted"], sticky.counters["drained"]) == (1, 0)


async def test_a_download_that_is_taken_slowly_is_not_idle(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than the idle time until the kernel has room for another piece, yet bytes go out meanwhile."""
    left = iter(range(5, 0, -1))

    def unsent(_: object) -> int:
        return next(left, 0)

    monkeypatch.setattr("gossipreg.frontends.proxy.relay._unsent", unsent)
    proxy, address = await stage.proxy(await stage.instance("a"), idle_timeout=0.05)
    async with await trio.open_tcp_stream(*address) as stream:
        assert await ends(stream) == "reset"
    await until(lambda: proxy.counters["idle"] == 1)
    assert next(left, 0) == 0, "it was cut while the kernel still sent"


async def test_an_instance_that_comes_back_still_has_the_connections_that_it_had(stage: Stage) -> None:
    a = await stage.instance("a")
    proxy, address = await stage.proxy(a, drain_time=3600)
    async with await held(proxy, address):
        proxy.apply([removed(a)])
        proxy.apply([added(a)])
        assert proxy.upstreams["orders"].balancer.backends[key_of(a)].in_flight == 1


async def test_a_caller_that_goes_at_once_is_counted(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, address = await stage.proxy(await stage.instance("a"), sticky="source")

    def gone(_: object) -> None:
        raise OSError(errno.ENOTCONN, "it has gone")

    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.tune", lambda _: None)
    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.plain_host", gone)
    assert await call(address) == ""
    await until(lambda: (proxy.counters["accepted"], proxy.counters["finished"]) == (1, 1))
