"""Calling services by name with aiohttp, over real connections: where requests go, and what is tried again."""

from __future__ import annotations

import asyncio
import io
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import aiohttp.web
import attrs
import pytest

from gossipreg import NoInstance
from gossipreg.embed.aiohttp import NoInstanceToConnect, ServiceMiddleware
from gossipreg.embed.chooser import Chooser
from gossipreg.protocol.registry.choose import by_key
from tests.certificates import certificate
from tests.embed.offering import FakeRegistry, offer
from tests.embed.replying import Reply, replying


@attrs.define
class Orders:
    """A service of two servers."""

    one: Reply
    two: Reply
    registry: FakeRegistry
    chooser: Chooser

    def offers(self, **weights: int) -> None:
        """Offer those servers, with those weights."""
        servers = {each.name: each for each in (self.one, self.two)}
        self.registry.instances = tuple(
            offer(name, host="127.0.0.1", port=servers[name].port, weight=weight) for name, weight in weights.items()
        )

    def run(self, program: Callable[[Web], Awaitable[None]], **options: Any) -> None:
        """Run a program with a session under asyncio; nothing is in progress when it has ended."""

        async def main() -> None:
            async with aiohttp.ClientSession(middlewares=(ServiceMiddleware(self.chooser, **options),)) as session:
                await program(Web(session))

        asyncio.run(main())
        assert self.chooser._under_way == {}

    def asked(self) -> list[int]:
        return [len(self.one.seen), len(self.two.seen)]


@attrs.frozen
class Web:
    """A session, and short ways to ask."""

    session: aiohttp.ClientSession

    async def text(self, method: str = "GET", url: str = "http://orders/", **options: Any) -> str:
        async with self.session.request(method, url, **options) as answer:
            return await answer.text()

    async def status(self, method: str, **options: Any) -> int:
        async with self.session.request(method, "http://orders/", **options) as answer:
            return answer.status


@pytest.fixture
def orders() -> Iterator[Orders]:
    registry = FakeRegistry()
    with replying("one") as one, replying("two") as two:
        orders = Orders(one, two, registry, Chooser(registry, strategy="round-robin", rng=Random(1)))
        orders.offers(one=1, two=1)
        yield orders


def test_requests_are_spread_by_weight_and_connections_are_kept(orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert Counter([await web.text() for _ in range(40)]) == {"one": 30, "two": 10}

    orders.offers(one=3, two=1)
    orders.run(program)
    assert [len(each.connections) for each in (orders.one, orders.two)] == [1, 1]


def test_what_arrives_is_what_was_sent_and_the_answer_is_the_services(orders: Orders) -> None:
    async def program(web: Web) -> None:
        options: dict[str, Any] = {"params": {"q": 1}, "json": {"a": 1}, "headers": {"x-one": "1"}}
        async with web.session.post("http://orders/path", **options) as answer:
            assert str(answer.url) == "http://orders/path?q=1"

    orders.run(program)
    [(line, headers)] = orders.one.seen
    assert (line, headers["host"], headers["x-one"]) == ("POST /path?q=1", "orders", "1")
    assert orders.one.bodies == [b'{"a": 1}']


def test_other_hosts_are_left_alone_and_services_can_be_listed(orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert await web.text(url=f"http://127.0.0.1:{orders.two.port}/") == "two"
        assert await web.text(url=f"http://localhost:{orders.two.port}/") == "two"
        assert await web.text(url="http://shop.orders/") == "one"

    orders.registry.instances = (offer("x", service="Shop.Orders", host="127.0.0.1", port=orders.one.port),)
    orders.run(program, services=["Shop.Orders"])


def test_an_instance_that_dies_is_replaced_and_rests(orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert {await web.text() for _ in range(4)} == {"one", "two"}
        await asyncio.to_thread(orders.one.stop)
        assert [await web.text() for _ in range(6)] == ["two"] * 6
        assert await web.text("POST", data=b"x") == "two"

    orders.run(program)
    assert list(orders.chooser._failures) == [("", "one", "one")]


def test_a_drained_instance_is_asked_no_more_while_there_is_another(orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert {await web.text() for _ in range(4)} == {"one", "two"}
        orders.offers(one=0, two=1)
        assert {await web.text() for _ in range(4)} == {"two"}

    orders.run(program)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_cannot_be_reached_is_replaced_whatever_the_method(method: str, orders: Orders) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async def program(web: Web) -> None:
        assert await web.text(method, data=body() if method == "POST" else None) == "two"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    orders.registry.instances = (offer("gone", host="127.0.0.1", port=port), orders.registry.instances[1])
    orders.run(program)
    assert list(orders.chooser._failures) == [("", "gone", "gone")]


@pytest.mark.parametrize("trouble", ["503", "head"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_may_be_sent_twice_is_sent_to_another(trouble: str, method: str, orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert await web.text(method, data=b"body") == "two"

    orders.one.status, orders.one.breaks = (503, "") if trouble == "503" else (200, "head")
    orders.run(program)
    assert orders.asked() == [1, 1]
    assert orders.two.bodies == [b"body"]


def test_what_may_be_sent_once_is_sent_once(orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert await web.status("POST", data=b"x") == 503
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await web.status("POST", data=b"x")
        assert orders.asked() == [1, 1]
        orders.two.breaks = ""
        assert await web.text("POST", data=b"x", headers={"Idempotency-Key": "7"}) == "two"

    orders.one.status = 503
    orders.two.breaks = "head"
    orders.run(program)


def test_a_file_is_sent_again_and_a_generator_is_not(orders: Orders) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async def program(web: Web) -> None:
        assert await web.text("PUT", data=io.BytesIO(b"content")) == "two"
        assert orders.two.bodies == [b"content"]
        orders.two.status = 503
        assert await web.status("PUT", data=body()) == 503

    orders.one.status = 503
    orders.run(program)
    assert sum(orders.asked()) == 3


def test_a_body_that_breaks_is_a_failed_call_and_one_that_ends_a_good_one(orders: Orders) -> None:
    async def program(web: Web) -> None:
        with pytest.raises(aiohttp.ClientPayloadError):
            await web.text()
        assert list(orders.chooser._failures) == [("", "one", "one")]
        orders.one.breaks = ""
        orders.offers(one=1)
        assert await web.text() == "one"
        assert orders.chooser._failures == {}

    orders.one.breaks = "body"
    orders.run(program)


def test_without_an_instance_both_aiohttp_and_we_say_so(orders: Orders) -> None:
    async def program(web: Web) -> None:
        with pytest.raises(NoInstanceToConnect, match="no instance of 'orders'") as refused:
            await web.text()
        assert isinstance(refused.value, NoInstance)
        assert isinstance(refused.value, aiohttp.ClientConnectionError)

    orders.offers()
    orders.run(program)


def test_requests_with_a_key_go_to_the_instance_that_it_belongs_to(orders: Orders) -> None:
    async def program(web: Web) -> None:
        owner = by_key(orders.registry.instances, "seven")
        assert owner is not None
        assert {await web.text(headers={"x-customer": "seven"}) for _ in range(6)} == {owner.id}

    orders.run(program, key=lambda request: request.headers.get("x-customer"))


def test_an_attempt_takes_no_longer_than_it_may_and_a_caller_may_give_up(orders: Orders) -> None:
    async def program(web: Web) -> None:
        assert await web.text() == "two"
        orders.registry.instances = orders.registry.instances[:1]
        with pytest.raises(TimeoutError):
            await web.text("POST")
        orders.chooser.report_success(orders.registry.instances[0])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await web.text("POST")
        assert orders.chooser._failures == {}

    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = offer("mute", host="127.0.0.1", port=silent.getsockname()[1])
        orders.registry.instances = (mute, orders.registry.instances[1])
        orders.run(program, per_try=0.2)


def test_each_service_under_tls_has_connections_of_its_own_and_its_name_checked(tmp_path: Path) -> None:
    async def program() -> None:
        trust = ssl.create_default_context(cafile=str(files[0]))
        async with aiohttp.ClientSession(middlewares=(ServiceMiddleware(registry),)) as session:
            web = Web(session)
            assert [await web.text(url="http://shop/", ssl=trust) for _ in range(2)] == ["shop"] * 2
            assert len(server.connections) == 1
            with pytest.raises(aiohttp.ClientConnectorCertificateError, match="bank"):
                await web.text(url="http://bank/", ssl=trust)

    files = certificate("shop", tmp_path)
    with replying("shop", certificate=files) as server:
        at = {"host": "127.0.0.1", "port": server.port, "meta": {"scheme": "https"}}
        registry = FakeRegistry((offer("a", service="shop", **at), offer("b", service="bank", **at)))
        asyncio.run(program())
    assert len(server.seen) == 2


def test_a_websocket_is_opened_at_an_instance_too() -> None:
    async def greet(request: aiohttp.web.BaseRequest) -> aiohttp.web.StreamResponse:
        socket = aiohttp.web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    async def main() -> None:
        server = aiohttp.web.ServerRunner(aiohttp.web.Server(greet))
        await server.setup()
        site = aiohttp.web.TCPSite(server, "127.0.0.1", 0)
        await site.start()
        chooser = Chooser(FakeRegistry((offer("a", host="127.0.0.1", port=server.addresses[0][1]),)))
        session = aiohttp.ClientSession(middlewares=(ServiceMiddleware(chooser),))
        async with session, session.ws_connect("ws://orders/") as talk:
            assert list(chooser._under_way.values()) == [1]
            assert await talk.receive_str() == "hello"
        assert chooser._under_way == {}
        await server.cleanup()

    asyncio.run(main())
