"""Services that speak HTTP/2 over TLS, called by name with real servers."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import attrs
import httpx
import pytest
import trio

from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import AsyncTransport, Transport
from tests.certificates import certificate
from tests.embed.http2_server import Http2Server, http2_server
from tests.embed.offering import FakeRegistry, offer


@attrs.frozen
class Shop:
    """Two servers of one service, and what calls it."""

    one: Http2Server
    two: Http2Server
    trust: ssl.SSLContext
    chooser: Chooser

    def client(self) -> httpx.Client:
        make = lambda: httpx.HTTPTransport(verify=self.trust, http2=True)  # noqa: E731
        return httpx.Client(transport=Transport(self.chooser, transport=make))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    files = certificate("shop", tmp_path)
    with ExitStack() as stack:
        one, two = (stack.enter_context(http2_server(name, files)) for name in ("one", "two"))
        offers = tuple(
            offer(each.name, service="shop", host="127.0.0.1", port=each.port, meta={"scheme": "https"})
            for each in (one, two)
        )
        chooser = Chooser(FakeRegistry(offers), strategy="round-robin", rng=Random(1))
        yield Shop(one, two, ssl.create_default_context(cafile=str(files[0])), chooser)


def test_a_request_arrives_under_the_services_name_and_connections_are_kept(shop: Shop) -> None:
    with shop.client() as web:
        answers = [web.get("http://shop/path", headers={"x-one": "1"}) for _ in range(6)]
    assert {each.http_version for each in answers} == {"HTTP/2"}
    assert Counter(each.json()["server"] for each in answers) == {"one": 3, "two": 3}
    seen = answers[0].json()["headers"]
    assert (seen[":authority"], seen[":path"], seen[":scheme"], seen["x-one"]) == ("shop", "/path", "https", "1")
    assert (shop.one.connections, shop.two.connections) == (1, 1)


def test_a_stream_that_is_reset_is_a_failure_and_another_instance_is_asked(shop: Shop) -> None:
    shop.one.is_resetting = True
    with shop.client() as web:
        assert [web.get("http://shop/").json()["server"] for _ in range(4)] == ["two"] * 4
        assert list(shop.chooser._failures) == [("", "one", "one")]
        shop.two.is_resetting = True
        with pytest.raises(httpx.RemoteProtocolError):
            web.post("http://shop/")


def test_an_instance_that_dies_with_kept_connections_is_replaced(shop: Shop) -> None:
    with shop.client() as web:
        assert {web.get("http://shop/").json()["server"] for _ in range(4)} == {"one", "two"}
        shop.one.stop()
        assert [web.get("http://shop/").json()["server"] for _ in range(4)] == ["two"] * 4


async def test_many_calls_at_once_share_one_connection_to_each_instance(shop: Shop) -> None:
    servers: Counter[str] = Counter()

    async def call(web: httpx.AsyncClient) -> None:
        answer = await web.get("http://shop/")
        servers[answer.json()["server"]] += 1

    transport = AsyncTransport(shop.chooser, transport=lambda: httpx.AsyncHTTPTransport(verify=shop.trust, http2=True))
    async with httpx.AsyncClient(transport=transport) as web, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(call, web)
    assert servers == {"one": 10, "two": 10}
    assert (shop.one.connections, shop.two.connections) == (1, 1)
    assert shop.chooser._under_way == {}
