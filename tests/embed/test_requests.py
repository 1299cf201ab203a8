"""Calling services by name with requests, over real connections: where requests go, and what is tried again."""

from __future__ import annotations

import io
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
import requests

from gossipreg import NoInstance
from gossipreg.embed.chooser import Chooser
from gossipreg.embed.requests import NoInstanceToRequest, ServiceAdapter
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

    def session(self, mount: str = "http://", **options: Any) -> requests.Session:
        session = requests.Session()
        session.mount(mount, ServiceAdapter(self.chooser, **options))
        return session

    def asked(self) -> list[int]:
        return [len(self.one.seen), len(self.two.seen)]


@pytest.fixture
def orders() -> Iterator[Orders]:
    registry = FakeRegistry()
    with replying("one") as one, replying("two") as two:
        orders = Orders(one, two, registry, Chooser(registry, strategy="round-robin", rng=Random(1)))
        orders.offers(one=1, two=1)
        yield orders


def test_requests_are_spread_by_weight_and_connections_are_kept(orders: Orders) -> None:
    orders.offers(one=3, two=1)
    with orders.session() as session:
        assert Counter(session.get("http://orders/").text for _ in range(40)) == {"one": 30, "two": 10}
    assert [len(each.connections) for each in (orders.one, orders.two)] == [1, 1]
    assert orders.chooser._under_way == {}


def test_what_arrives_is_what_was_sent_and_the_answer_is_the_services(orders: Orders) -> None:
    with orders.session() as session:
        answer = session.post("http://orders/path", params={"q": 1}, json={"a": 1}, headers={"x-one": "1"})
    [(line, headers)] = orders.one.seen
    assert (line, headers["host"], headers["x-one"]) == ("POST /path?q=1", "orders", "1")
    assert orders.one.bodies == [b'{"a": 1}']
    assert (answer.url, answer.request.url) == ("http://orders/path?q=1", "http://orders/path?q=1")


def test_under_a_scheme_of_its_own_every_host_is_a_service(orders: Orders) -> None:
    server = orders.one
    orders.registry.instances = (offer("x", service="Shop.Orders", host="127.0.0.1", port=server.port),)
    server.status, server.headers["Location"] = 302, "/there?a=b"
    with orders.session("http+gossipreg://") as session:
        assert session.get("http+gossipreg://Shop.Orders/here", params={"q": "é"}, allow_redirects=False).is_redirect
        with pytest.raises(requests.TooManyRedirects):
            session.get("http+gossipreg://Shop.Orders/here")
    assert orders.one.seen[0][0] == "GET /here?q=%C3%A9"
    assert {line for line, _ in orders.one.seen[2:]} == {"GET /there?a=b"}
    assert {headers["host"] for _, headers in orders.one.seen} == {"Shop.Orders"}


def test_other_hosts_are_left_alone(orders: Orders) -> None:
    with orders.session() as session:
        assert session.get(f"http://127.0.0.1:{orders.two.port}/").text == "two"
        assert session.get(f"http://localhost:{orders.two.port}/").text == "two"


def test_an_instance_that_dies_is_replaced_and_rests(orders: Orders) -> None:
    with orders.session() as session:
        assert {session.get("http://orders/").text for _ in range(4)} == {"one", "two"}
        orders.one.stop()
        assert [session.get("http://orders/").text for _ in range(6)] == ["two"] * 6
        assert session.post("http://orders/", data=b"x").text == "two"
    assert list(orders.chooser._failures) == [("", "one", "one")]
    assert orders.chooser._under_way == {}


def test_a_drained_instance_is_asked_no_more_while_there_is_another(orders: Orders) -> None:
    with orders.session() as session:
        assert {session.get("http://orders/").text for _ in range(4)} == {"one", "two"}
        orders.offers(one=0, two=1)
        assert {session.get("http://orders/").text for _ in range(4)} == {"two"}


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_what_cannot_be_reached_is_replaced_whatever_the_method(method: str, orders: Orders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    orders.registry.instances = (offer("gone", host="127.0.0.1", port=port), orders.registry.instances[1])
    body = iter([b"once"]) if method == "PATCH" else None
    with orders.session() as session:
        assert session.request(method, "http://orders/", data=body).text == "two"
    assert list(orders.chooser._failures) == [("", "gone", "gone")]
    assert orders.two.bodies == [b"once" if method == "PATCH" else b""]


@pytest.mark.parametrize("trouble", ["503", "head"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_may_be_sent_twice_is_sent_to_another(trouble: str, method: str, orders: Orders) -> None:
    orders.one.status, orders.one.breaks = (503, "") if trouble == "503" else (200, "head")
    with orders.session() as session:
        assert session.request(method, "http://orders/", data=b"body").text == "two"
    assert orders.asked() == [1, 1]
    assert orders.two.bodies == [b"body"]


def test_what_may_be_sent_once_is_sent_once(orders: Orders) -> None:
    orders.one.status = 503
    orders.two.breaks = "head"
    with orders.session() as session:
        assert session.post("http://orders/", data=b"x").status_code == 503
        with pytest.raises(requests.ConnectionError):
            session.post("http://orders/", data=b"x")
        assert orders.asked() == [1, 1]
        orders.two.breaks = ""
        assert session.post("http://orders/", data=b"x", headers={"Idempotency-Key": "7"}).text == "two"


def test_a_file_is_sent_again_from_where_it_began_and_a_generator_is_not(orders: Orders) -> None:
    orders.one.status = 503
    with orders.session() as session:
        file = io.BytesIO(b"skipped content")
        file.seek(8)
        assert session.put("http://orders/", data=file).text == "two"
        assert orders.two.bodies == [b"content"]
        orders.two.status = 503
        assert session.put("http://orders/", data=iter([b"x"])).status_code == 503
    assert sum(orders.asked()) == 3


def test_a_body_that_breaks_is_a_failed_call_and_one_that_ends_a_good_one(orders: Orders) -> None:
    orders.one.breaks = "body"
    with orders.session() as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get("http://orders/")
        assert list(orders.chooser._failures) == [("", "one", "one")]
        orders.one.breaks = ""
        orders.offers(one=1)
        with session.get("http://orders/", stream=True) as answer:
            assert list(orders.chooser._failures) == [("", "one", "one")]
            assert list(orders.chooser._under_way.values()) == [1]
            assert answer.content == b"one"
            assert orders.chooser._failures == {}
    assert orders.chooser._under_way == {}


def test_without_an_instance_both_requests_and_we_say_so(orders: Orders) -> None:
    orders.offers()
    with orders.session() as session, pytest.raises(NoInstanceToRequest, match="no instance of 'orders'") as refused:
        session.get("http://orders/")
    assert isinstance(refused.value, NoInstance)
    assert isinstance(refused.value, requests.ConnectionError)


def test_requests_with_a_key_go_to_the_instance_that_it_belongs_to(orders: Orders) -> None:
    owner = by_key(orders.registry.instances, "seven")
    assert owner is not None
    with orders.session(key=lambda request: request.headers.get("x-customer")) as session:
        assert {session.get("http://orders/", headers={"x-customer": "seven"}).text for _ in range(6)} == {owner.id}


def test_an_attempt_takes_no_longer_than_it_may(orders: Orders) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = offer("mute", host="127.0.0.1", port=silent.getsockname()[1])
        orders.registry.instances = (mute, orders.registry.instances[1])
        with orders.session(per_try=0.1) as session:
            assert session.get("http://orders/", timeout=60).text == "two"
            orders.registry.instances = (mute,)
            with pytest.raises(requests.ReadTimeout):
                session.post("http://orders/", timeout=(60, 60))


def test_each_service_under_tls_has_connections_of_its_own_and_its_name_checked(tmp_path: Path) -> None:
    files = certificate("shop", tmp_path)
    with ExitStack() as stack:
        server = stack.enter_context(replying("shop", certificate=files))
        at = {"host": "127.0.0.1", "port": server.port, "meta": {"scheme": "https"}}
        registry = FakeRegistry((offer("a", service="shop", **at), offer("b", service="bank", **at)))
        session = stack.enter_context(requests.Session())
        session.mount("http://", ServiceAdapter(registry))
        trust = str(files[0])
        assert [session.get("http://shop/", verify=trust).text for _ in range(2)] == ["shop"] * 2
        assert len(server.connections) == 1
        with pytest.raises(requests.exceptions.SSLError, match="bank"):
            session.get("http://bank/", verify=trust)
    assert len(server.seen) == 2
