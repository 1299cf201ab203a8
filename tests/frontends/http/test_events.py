from __future__ import annotations

import json
from typing import Any, Literal

import attrs
import httpx
import pytest
import trio
import trio.testing

from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import ByteChunks
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode, member
from tests.frontends.wire import acceptor, answers, dial, get, read_all, read_until


@attrs.define
class Listener:
    """A client of events on a connection in memory."""

    stream: trio.abc.HalfCloseableStream
    _heard: bytes = b""

    @classmethod
    async def to(cls, path: str, node: FakeNode, nursery: trio.Nursery) -> Listener:
        listener = cls(dial(acceptor(node), nursery))
        await listener.stream.send_all(get(path))
        head = await listener._read_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Transfer-Encoding: chunked" in head
        return listener

    async def hear(self) -> tuple[str, Any]:
        """The next event and its data."""
        size = await self._read_until(b"\r\n")
        event = await self._read_until(b"\n\n\r\n")
        assert int(size, 16) == len(event) - 2
        name, data = event.decode().strip().split("\n")
        return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def _read_until(self, end: bytes) -> bytes:
        while end not in self._heard:
            part = await self.stream.receive_some()
            assert part, self._heard
            self._heard += part
        found, _, self._heard = self._heard.partition(end)
        return found + end


async def test_a_stream_begins_with_what_there_is(fake: FakeNode, nursery: trio.Nursery) -> None:
    await fake.register("orders", port=80, id="a")
    name, snapshot = await (await Listener.to("/api/v1/events", fake, nursery)).hear()
    assert name == "snapshot"
    assert [each["name"] for each in snapshot["members"]] == ["alpha"]
    assert [each["id"] for each in snapshot["instances"]] == ["a"]


async def test_a_stream_goes_on_with_what_happens(fake: FakeNode, nursery: trio.Nursery) -> None:
    listener = await Listener.to("/api/v1/events", fake, nursery)
    await listener.hear()

    instance = await fake.register("orders", port=80, id="a")
    name, data = await listener.hear()
    assert (name, data["id"], data["port"], data["health"]) == ("instance-added", "a", 80, "passing")
    fake.fail_checks(instance)
    name, data = await listener.hear()
    assert (name, data["id"], data["health"]) == ("instance-changed", "a", "critical")
    await fake.deregister("a")
    name, data = await listener.hear()
    assert (name, data["id"]) == ("instance-removed", "a")


@pytest.mark.parametrize("kind", ["joined", "suspect", "alive", "failed", "left"])
async def test_a_stream_tells_of_members(
    fake: FakeNode, nursery: trio.Nursery, kind: Literal["joined", "suspect", "alive", "failed", "left"]
) -> None:
    listener = await Listener.to("/api/v1/events?service=orders", fake, nursery)
    await listener.hear()
    fake.see(kind, member("beta", 7941))
    name, data = await listener.hear()
    assert (name, data["name"], data["address"]) == (f"member-{kind}", "beta", "127.0.0.1:7941")


async def test_a_stream_of_one_service_tells_of_no_other(fake: FakeNode, nursery: trio.Nursery) -> None:
    await fake.register("users", port=80)
    listener = await Listener.to("/api/v1/events?service=orders", fake, nursery)
    assert (await listener.hear())[1]["instances"] == []
    await fake.register("users", port=81)
    await fake.register("orders", port=82)
    assert (await listener.hear())[1]["service"] == "orders"


async def test_an_ordinary_client_can_follow_a_stream_to_its_end(client: httpx.AsyncClient, fake: FakeNode) -> None:
    async with client.stream("GET", "/api/v1/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["cache-control"] == "no-store"
        fake.close()
        assert (await answer.aread()).startswith(b"event: snapshot\ndata: {")


@pytest.mark.parametrize("abruptly", [False, True], ids=["by a close", "by a reset"])
async def test_a_client_that_goes_is_noticed_without_an_event(fake: FakeNode, address: Address, abruptly: bool) -> None:
    stream = await trio.open_tcp_stream(*address)
    await stream.send_all(get("/api/v1/events"))
    await read_until(stream, b"\n\n")
    assert fake.listeners == 1
    if abruptly:
        stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await stream.aclose()
    with trio.fail_after(60):
        while fake.listeners:
            await trio.lowlevel.checkpoint()


async def test_what_a_client_says_during_a_stream_is_ignored(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(get("/api/v1/events") + get("/api/v1/node"))
        await read_until(stream, b"event: snapshot")
        await stream.send_all(b"and another thing")
        await fake.register("orders", port=80)
        assert b'"name":"alpha","cluster"' not in await read_until(stream, b"event: instance-added")
        nursery.cancel_scope.cancel()


async def test_an_old_client_gets_a_stream_without_chunks(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(b"GET /api/v1/events HTTP/1.0\r\n\r\n")
        said = await read_until(stream, b"\n\n")
        assert b"\r\n\r\nevent: snapshot\n" in said
        fake.close()
        assert await read_all(stream) == b""
        await stream.aclose()


async def test_head_of_a_stream_is_its_head_alone(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(get("/api/v1/events").replace(b"GET", b"HEAD"))
        [answer] = answers(await read_all(stream))
        await stream.aclose()
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body == b""


async def test_a_silent_stream_shows_signs_of_life(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    heard: list[tuple[float, bytes]] = []

    async def listen(data: bytes | ByteChunks) -> None:
        assert isinstance(data, bytes)
        heard.append((trio.current_time() - began, data))
        if len(heard) == 4:
            fake.close()

    began = trio.current_time()
    await EventStream(fake).run(listen)
    assert heard[0][1].startswith(b"event: snapshot\n")
    assert heard[1:] == [(at, b": keep-alive\n\n") for at in (15, 30, 45)]


async def test_a_stream_outlives_every_patience(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(get("/api/v1/events"))
        with trio.move_on_after(3600):
            await read_all(stream)
        await fake.register("orders", port=80)
        await read_until(stream, b"event: instance-added")
        nursery.cancel_scope.cancel()


async def test_a_client_that_takes_no_events_is_let_go(fake: FakeNode, autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(acceptor(fake).admit, theirs)
        await ours.send_all(get("/api/v1/events"))
    assert trio.current_time() - began == pytest.approx(limits.TAKE_SECONDS + limits.LINGER_SECONDS)
    assert fake.listeners == 0


async def test_slow_readers_of_one_snapshot_share_it_and_the_slowest_gives_way_where_there_are_too_many(
    fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(400):
        await fake.register("orders", port=80, id=f"{number}", meta={"filling": "x" * 400})
    listener = acceptor(fake)
    outgoing = listener._capacity.outgoing
    async with trio.open_nursery() as nursery:
        clients = []
        for _ in range(5):
            ours, theirs = trio.testing.lockstep_stream_pair()
            nursery.start_soon(listener.admit, theirs)
            nursery.start_soon(ours.send_all, get("/api/v1/events"))
            clients.append(ours)
        await trio.testing.wait_all_tasks_blocked()
        assert len(outgoing._taking) == 5
        assert len({tuple(id(part) for part in parts if len(part) > 1000) for parts in outgoing._taking.values()}) == 1
        size = outgoing._bytes
        assert size > 2 * limits.SEND_BYTES
        outgoing.most = size
        await fake.deregister("7")
        ours, theirs = trio.testing.lockstep_stream_pair()
        nursery.start_soon(listener.admit, theirs)
        nursery.start_soon(ours.send_all, get("/api/v1/events"))
        await trio.testing.wait_all_tasks_blocked()
        assert len(outgoing._taking) == 1
        assert outgoing._bytes < size
        with pytest.raises(trio.BrokenResourceError):
            await clients[0].send_all(b"x")
        nursery.cancel_scope.cancel()


async def test_a_stream_too_many_is_told_so_and_room_is_made_again(
    fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EVENT_STREAMS_MAX", 1)
    listener = acceptor(fake)
    async with trio.open_nursery() as nursery:
        first, second = dial(listener, nursery), dial(listener, nursery)
        await first.send_all(get("/api/v1/events"))
        await read_until(first, b"event: snapshot")
        await second.send_all(get("/api/v1/events"))
        [refusal] = answers(await read_all(second))
        assert (refusal.status, refusal.error) == (503, "1 event streams are open, which is the limit")
        await second.aclose()
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        third = dial(listener, nursery)
        await third.send_all(get("/api/v1/events"))
        await read_until(third, b"event: snapshot")
        nursery.cancel_scope.cancel()
