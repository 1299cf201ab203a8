"""Blocking reads: answered when there is something else to be said than the client knows."""

from __future__ import annotations

from functools import partial

import httpx
import pytest
import trio
import trio.testing

from gossipreg import Config, open_node
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.http.native_api import NativeApi
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, encode
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode, member
from tests.frontends.wire import Said, acceptor, answers, ask, dial, get, put, read_all, read_until


async def said(stream: trio.abc.HalfCloseableStream) -> Said:
    """The next answer."""
    data = await read_until(stream, b"\r\n\r\n")
    [answer] = answers(data)
    while len(answer.body) < int(answer.headers["content-length"]):
        data += bytes(await stream.receive_some())
        [answer] = answers(data)
    return answer


async def index_of(fake: FakeNode, path: str) -> int:
    """The index that an answer at ``path`` carries."""
    async with trio.open_nursery() as nursery:
        [answer] = await ask(dial(acceptor(fake), nursery), get(path))
    assert answer.status == 200
    return int(answer.headers["x-gossipreg-index"])


class Waiter:
    """A client that waits on a connection in memory."""

    def __init__(self, listener: Acceptor, nursery: trio.Nursery, path: str) -> None:
        self.stream = dial(listener, nursery)
        self.path = path

    async def begin(self) -> None:
        await self.stream.send_all(get(self.path))
        await trio.testing.wait_all_tasks_blocked()

    async def hear(self) -> Said:
        return await said(self.stream)


@pytest.mark.parametrize("path", ["/api/v1/services/orders", "/api/v1/services", "/api/v1/members", "/api/v1/policies"])
async def test_without_an_index_or_with_another_it_is_answered_at_once(fake: FakeNode, path: str) -> None:
    await fake.register("orders", port=80)
    index = await index_of(fake, path)
    assert index > 0
    for asked in (0, index - 1, index + 1, 10**18):
        assert await index_of(fake, f"{path}?index={asked}&wait=10m") == index
    assert await index_of(fake, f"{path}?wait=10m") == index


async def test_with_the_index_that_holds_it_waits_for_a_change(fake: FakeNode, nursery: trio.Nursery) -> None:
    index = await index_of(fake, "/api/v1/services/orders")
    waiter = Waiter(acceptor(fake), nursery, f"/api/v1/services/orders?index={index}")
    await waiter.begin()
    assert fake.waiting == 1
    await fake.register("users", port=80)
    await trio.testing.wait_all_tasks_blocked()
    assert fake.waiting == 1
    await fake.register("orders", port=80, id="a")
    answer = await waiter.hear()
    assert answer.status == 200
    assert [each["id"] for each in answer.json["instances"]] == ["a"]
    assert int(answer.headers["x-gossipreg-index"]) == answer.json["index"] > index
    await waiter.stream.aclose()


async def test_it_hears_of_the_first_that_comes_and_of_the_last_that_goes(
    fake: FakeNode, nursery: trio.Nursery
) -> None:
    listener, index = acceptor(fake), await index_of(fake, "/api/v1/services/orders")
    for step in (partial(fake.register, "orders", port=80, id="a"), partial(fake.deregister, "a")):
        waiter = Waiter(listener, nursery, f"/api/v1/services/orders?index={index}")
        await waiter.begin()
        await step()
        answer = await waiter.hear()
        assert answer.json["index"] > index
        index = answer.json["index"]
        await waiter.stream.aclose()
    assert answer.json["instances"] == []


@pytest.mark.parametrize("path", ["/api/v1/services", "/api/v1/members", "/api/v1/policies"])
async def test_what_is_about_everything_hears_of_anything(fake: FakeNode, nursery: trio.Nursery, path: str) -> None:
    index = await index_of(fake, path)
    waiter = Waiter(acceptor(fake), nursery, f"{path}?index={index}")
    await waiter.begin()
    fake.see("joined", member("beta", 7941))
    answer = await waiter.hear()
    assert int(answer.headers["x-gossipreg-index"]) > index
    await waiter.stream.aclose()


@pytest.mark.parametrize(
    ("wait", "seconds"),
    [("wait=30s", 30), ("wait=2", 2), ("wait=1500ms", 1.5), ("wait=2m", 120), ("wait=9h", 600), ("", 300)],
)
async def test_when_its_time_is_over_it_is_told_what_there_is(
    fake: FakeNode, autojump_clock: trio.testing.MockClock, wait: str, seconds: float
) -> None:
    index = await index_of(fake, "/api/v1/services/orders")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        waiter = Waiter(acceptor(fake), nursery, f"/api/v1/services/orders?index={index}&{wait}".rstrip("&"))
        await waiter.stream.send_all(get(waiter.path))
        answer = await waiter.hear()
        await waiter.stream.aclose()
        assert seconds <= trio.current_time() - began <= seconds * (1 + 1 / 16) + limits.LINGER_SECONDS
    assert (answer.status, answer.json) == (200, {"index": index, "instances": []})


@pytest.mark.parametrize(
    "query", ["index=", "index=-1", "index=one", "index=1&wait=", "index=1&wait=soon", "index=1&wait=-3s", "wait=1e9"]
)
async def test_what_cannot_be_waited_for_is_refused(fake: FakeNode, query: str) -> None:
    async with trio.open_nursery() as nursery:
        [answer] = await ask(dial(acceptor(fake), nursery), get(f"/api/v1/services/orders?{query}"))
    assert answer.status == 400
    assert "index: " in answer.error or "wait: " in answer.error


async def test_a_client_that_goes_is_not_waited_for(fake: FakeNode, address: Address) -> None:
    stream = await trio.open_tcp_stream(*address)
    await stream.send_all(get("/api/v1/services/orders?index=1"))
    with trio.fail_after(60):
        while not fake.waiting:
            await trio.lowlevel.checkpoint()
        await stream.aclose()
        while fake.waiting:
            await trio.lowlevel.checkpoint()


async def test_a_node_that_closes_answers_every_blocked_reader(fake: FakeNode, nursery: trio.Nursery) -> None:
    waiter = Waiter(acceptor(fake), nursery, "/api/v1/services/orders?index=1")
    await waiter.begin()
    fake.close()
    answer = await waiter.hear()
    assert (answer.status, answer.error) == (503, "node alpha is closed")
    await waiter.stream.aclose()


async def test_what_is_asked_meanwhile_is_answered_afterwards(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(acceptor(fake), nursery)
        await stream.send_all(get("/api/v1/services/orders?index=1"))
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(get("/api/v1/node") + get("/api/v1/nothing", "Connection: close"))
        await trio.testing.wait_all_tasks_blocked()
        await fake.register("orders", port=80)
        first, second, third = answers(await read_all(stream))
        await stream.aclose()
    assert [first.status, second.status, third.status] == [200, 200, 404]
    assert len(first.json["instances"]) == 1
    assert second.json["name"] == "alpha"


async def test_the_same_question_asked_again_may_have_to_wait(fake: FakeNode, nursery: trio.Nursery) -> None:
    stream = dial(acceptor(fake), nursery)
    asked = get("/api/v1/services/orders?index=2")
    await stream.send_all(asked)
    assert (await said(stream)).json["index"] == 1
    await fake.register("orders", port=80, id="a")
    await stream.send_all(asked)
    await trio.testing.wait_all_tasks_blocked()
    assert fake.waiting == 1
    await fake.deregister("a")
    assert (await said(stream)).json == {"index": 3, "instances": []}
    await stream.aclose()


async def test_one_too_many_is_held_briefly_and_answered_so_that_its_client_polls(
    fake: FakeNode, monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    monkeypatch.setattr(limits, "WAITING_MAX", 1)
    listener = acceptor(fake)
    async with trio.open_nursery() as nursery:
        first, second = (Waiter(listener, nursery, "/api/v1/services/orders?index=1&wait=60s") for _ in range(2))
        await first.begin()
        began = trio.current_time()
        await second.begin()
        answer = await second.hear()
        assert (answer.status, answer.json) == (200, {"index": 1, "instances": []})
        assert limits.POLL_SECONDS <= trio.current_time() - began <= 1.6 * limits.POLL_SECONDS
        await first.stream.aclose()
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        await second.begin()
        assert (await second.hear()).status == 200
        assert trio.current_time() - began >= 60
        await second.stream.aclose()


async def test_one_too_many_hears_of_a_change_while_it_is_held(fake: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_MAX", 0)
    listener = acceptor(fake)
    async with trio.open_nursery() as nursery:
        waiter = Waiter(listener, nursery, "/api/v1/services/orders?index=1")
        await waiter.begin()
        await fake.register("orders", port=80)
        assert (await waiter.hear()).json["index"] == 2
        await waiter.stream.aclose()


async def test_a_thousand_readers_of_one_service_are_served_by_one_lookup(
    fake: FakeNode, nursery: trio.Nursery
) -> None:
    listener = acceptor(fake)
    waiters = [Waiter(listener, nursery, "/api/v1/services/orders?index=1") for _ in range(1000)]
    for waiter in waiters:
        await waiter.stream.send_all(get(waiter.path))
    await trio.testing.wait_all_tasks_blocked()
    assert fake.waiting == 1000
    before = fake.lookups
    await fake.register("orders", port=80)
    for waiter in waiters:
        assert (await waiter.hear()).json["index"] == 2
        await waiter.stream.aclose()
    assert fake.lookups == before + 1


async def test_what_is_about_everything_is_made_once_for_all_blocked_readers(fake: FakeNode) -> None:
    made: list[int] = []

    async def make() -> bytes:
        made.append(1)
        return encode(len(made))

    lookups = LookupCache(fake)
    assert [await lookups.shared("/a", 7, make), await lookups.shared("/a", 7, make)] == [b"1", b"1"]
    assert await lookups.shared("/b", 7, make) == b"2"
    assert await lookups.shared("/a", 8, make) == b"3"
    assert await lookups.shared("/a", 7, make) == b"4"


async def test_ways_to_wait_are_no_ways_to_have_more_kept(fake: FakeNode) -> None:
    server, native = ServerContext(fake, lambda: None), NativeApi(LookupCache(fake))
    index = fake.index()
    waiting = []
    for number in range(20):
        target = f"/api/v1/services?index={index}&wait={number + 1}s"
        _, reply = await native.answer(Request("GET", target), server)
        assert isinstance(reply, DeferredResponse)
        waiting.append(reply)
    await fake.register("orders", port=80)
    assert len({(await reply.answer()).body for reply in waiting}) == 1
    assert len(native.lookups._shared) == 1


# A real node


async def test_an_index_does_not_fall_when_the_node_is_born_again() -> None:
    config = Config(name="alpha", bind="127.0.0.1:0")
    highest = 0
    for _ in range(3):
        async with open_node(config) as node:
            assert node.index() > highest
            assert node.index("orders") > highest
            for number in range(50):
                await node.register("orders", port=80, weight=number)
            highest = max(node.index(), node.index("orders"))
            assert highest < 2**53


async def test_a_real_node_wakes_its_blocked_readers_and_ends_with_them() -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve_http, node, Address("127.0.0.1", 0), leave=trio.Event().set))
        async with httpx.AsyncClient(base_url=f"http://{bound}/api/v1", trust_env=False) as client:

            async def read(path: str, index: int | None = None) -> tuple[int, int]:
                answer = await client.get(path, params={} if index is None else {"index": index, "wait": "1m"})
                return answer.status_code, int(answer.headers.get("x-gossipreg-index", 0))

            seen: dict[str, tuple[int, int]] = {}

            async def wait(path: str, index: int) -> None:
                seen[path] = await read(path, index)

            for act in (partial(node.register, "orders", port=80, id="a"), partial(node.deregister, "a"), node.leave):
                paths = ["/services/orders", "/services", "/members", "/policies"]
                indexes = {path: (await read(path))[1] for path in paths}
                async with trio.open_nursery() as waiting:
                    for path in paths:
                        waiting.start_soon(wait, path, indexes[path])
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    await act()
                for path in paths:
                    status, index = seen[path]
                    assert status == 503 or index > indexes[path]
        nursery.cancel_scope.cancel()


async def test_a_body_asks_and_a_connection_goes_on_after_waiting(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        listener = acceptor(fake)
        waiter = Waiter(listener, nursery, "/api/v1/services/orders?index=1")
        await waiter.begin()
        [made] = await ask(dial(listener, nursery), put(b'{"service": "orders", "port": 80}'))
        assert made.status == 201
        assert (await waiter.hear()).status == 200
        [again] = await ask(waiter.stream, get("/api/v1/services/orders"))
        assert again.status == 200
