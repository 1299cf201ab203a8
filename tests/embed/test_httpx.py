"""Calling services by name with httpx: where requests go, what they look like there, and what is tried again."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Iterator
from random import Random
from typing import Any

import attrs
import httpx
import pytest

from gossipreg import NoInstance
from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import AsyncTransport, NoInstanceToCall, Transport
from gossipreg.protocol.registry.choose import by_key
from tests.embed.offering import FakeRegistry, offer

Answer = Callable[[httpx.Request], httpx.Response]

A, B, C = offer("a"), offer("b"), offer("c", port=8080)


class Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that has to be fetched, as that of a real answer."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def __iter__(self) -> Iterator[bytes]:
        yield self.content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.content


class FakeTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Hands requests to the hosts, bodies unread."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.hosts(request)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return self.hosts(request)


@attrs.define
class Hosts:
    """The instances as seen from outside: what each answers, and the order in which they were called."""

    answers: dict[str, Answer | int | type[Exception]]
    asked: list[str] = attrs.field(factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.removesuffix(".test")
        self.asked.append(name)
        answer = self.answers.get(name, 200)
        if isinstance(answer, int):
            return httpx.Response(answer, stream=Body(name.encode()))
        if isinstance(answer, type):
            raise answer(f"{name} is not well")
        return answer(request)


def calls(*offers: Any, **options: Any) -> Chooser:
    return Chooser(FakeRegistry(offers), strategy="round-robin", rng=Random(1), **options)


def client(chooser: Chooser, hosts: Hosts, **options: Any) -> httpx.Client:
    return httpx.Client(transport=Transport(chooser, transport=FakeTransport(hosts), **options))


@pytest.fixture
def hosts() -> Hosts:
    return Hosts({})


def test_a_request_for_a_service_goes_to_one_of_its_instances_after_the_other(hosts: Hosts) -> None:
    with client(calls(A, B), hosts) as web:
        assert [web.get("http://orders/1").text for _ in range(4)] == ["a", "b", "a", "b"]


def test_what_arrives_is_what_was_sent_and_the_host_is_the_services_name(hosts: Hosts) -> None:
    seen: list[httpx.Request] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    hosts.answers["c"] = look
    with client(calls(C), hosts) as web:
        answer = web.post("http://orders/path?q=1", json={"a": 1}, headers={"x-one": "1"})
    [request] = seen
    assert str(request.url) == "http://c.test:8080/path?q=1"
    assert (request.method, request.headers["host"], request.headers["x-one"]) == ("POST", "orders", "1")
    assert json.loads(request.read()) == {"a": 1}
    assert str(answer.request.url) == "http://orders/path?q=1"
    assert answer.extensions["gossipreg_instance"] == C


def test_an_instance_with_an_ipv6_address_can_be_called(hosts: Hosts) -> None:
    seen: list[str] = []
    hosts.answers["::1"] = lambda request: seen.append(str(request.url)) or httpx.Response(200)  # type: ignore[func-returns-value]
    with client(calls(offer("six", host="::1", port=8080)), hosts) as web:
        web.get("http://orders/")
    assert seen == ["http://[::1]:8080/"]


def test_an_instance_that_speaks_tls_is_called_so_under_the_services_name(hosts: Hosts) -> None:
    seen: list[httpx.Request] = []
    hosts.answers["safe"] = lambda request: seen.append(request) or httpx.Response(200)  # type: ignore[func-returns-value]
    chooser = calls(offer("safe", port=443, meta={"scheme": "https"}))
    with httpx.Client(transport=Transport(chooser, transport=lambda: FakeTransport(hosts))) as web:
        web.get("http://orders/")
    assert (seen[0].url.scheme, seen[0].url.host, seen[0].extensions["sni_hostname"]) == (
        "https",
        "safe.test",
        "orders",
    )


@pytest.mark.parametrize(
    "url", ["http://orders.example.com/", "http://orders:80/", "http://localhost/", "http://1.2.3.4/"]
)
def test_other_hosts_are_left_alone(url: str, hosts: Hosts) -> None:
    with client(calls(A), hosts) as web:
        if url != "http://orders:80/":  # port 80 is how http is spelt
            web.get(url)
            assert hosts.asked == [httpx.URL(url).host]
        web.get("http://orders:8080/")
        assert hosts.asked[-1] == "orders"


def test_in_a_panic_what_was_lost_is_called_and_a_call_that_fails_is_tried_elsewhere(hosts: Hosts) -> None:
    hosts.answers["b"] = httpx.ConnectTimeout
    with client(calls(A, offer("b", stale=True), panic=0.6), hosts) as web:
        assert [web.get("http://orders/").text for _ in range(4)] == ["a"] * 4
    assert hosts.asked == ["a", "b", "a", "a", "a"]


def test_which_hosts_are_services_can_be_said(hosts: Hosts) -> None:
    one = offer("one", service="Shop.Orders")
    with client(calls(one), hosts, services=["Shop.Orders"]) as web:
        assert web.get("http://shop.orders/").text == "one"
        assert web.get("http://orders/").text == "orders"


def test_when_there_is_no_instance_to_call_both_httpx_and_we_say_so(hosts: Hosts) -> None:
    with client(calls(), hosts) as web:
        with pytest.raises(NoInstanceToCall, match=r"^no instance of 'orders' can be called now$") as refused:
            web.get("http://orders/")
        assert isinstance(refused.value, NoInstance)
        assert isinstance(refused.value, httpx.ConnectError)
        assert str(refused.value.request.url) == "http://orders/"


@pytest.mark.parametrize("trouble", [httpx.ConnectError, httpx.ConnectTimeout])
@pytest.mark.parametrize("method", ["GET", "POST", "PATCH"])
def test_who_cannot_be_reached_is_replaced_by_another_whatever_the_method(
    trouble: type[Exception], method: str, hosts: Hosts
) -> None:
    hosts.answers["a"] = trouble
    with client(calls(A, B), hosts) as web:
        assert web.request(method, "http://orders/").text == "b"
        assert hosts.asked == ["a", "b"]
        assert {web.request(method, "http://orders/").text for _ in range(5)} == {"b"}, "and is avoided from then on"
        assert hosts.asked.count("a") == 1


TROUBLES = [502, 503, 504, httpx.ReadTimeout, httpx.ReadError, httpx.RemoteProtocolError]


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_what_may_be_sent_twice_is_sent_to_another(trouble: Any, method: str, hosts: Hosts) -> None:
    hosts.answers["a"] = trouble
    with client(calls(A, B), hosts) as web:
        assert web.request(method, "http://orders/").status_code == 200
    assert hosts.asked == ["a", "b"]


def test_what_may_be_sent_once_is_sent_once(hosts: Hosts) -> None:
    hosts.answers |= {"a": 503, "b": httpx.ReadTimeout}
    with client(calls(A, B), hosts) as web:
        assert web.post("http://orders/").status_code == 503
        with pytest.raises(httpx.ReadTimeout, match="b is not well"):
            web.post("http://orders/")
    assert hosts.asked == ["a", "b"]


def test_a_post_with_an_idempotency_key_may_be_sent_twice(hosts: Hosts) -> None:
    hosts.answers["a"] = 503
    with client(calls(A, B), hosts) as web:
        assert web.post("http://orders/", headers={"Idempotency-Key": "7"}).text == "b"


def test_a_body_that_can_be_read_once_is_sent_once_but_may_wait_for_a_connection(hosts: Hosts) -> None:
    def body() -> Iterator[bytes]:
        yield b"once"

    hosts.answers |= {"a": 503}
    with client(calls(A, B), hosts) as web:
        assert web.put("http://orders/", content=body()).status_code == 503
    hosts.answers |= {"a": httpx.ConnectError}
    with client(calls(A, B), hosts) as web:
        assert web.put("http://orders/", content=body()).text == "b"


def test_the_last_answer_or_error_is_the_callers(hosts: Hosts) -> None:
    hosts.answers |= {"a": 503, "b": 504, "c": httpx.ConnectError}
    with client(calls(A, B), hosts) as web:
        assert (web.get("http://orders/").status_code, hosts.asked) == (504, ["a", "b"])
    with client(calls(C), hosts) as web, pytest.raises(httpx.ConnectError, match="c is not well"):
        web.get("http://orders/")


def test_no_more_are_tried_than_was_said(hosts: Hosts) -> None:
    hosts.answers |= dict.fromkeys("abc", 503)
    with client(calls(A, B, C), hosts, attempts=2) as web:
        assert web.get("http://orders/").status_code == 503
    assert hosts.asked == ["a", "b"]


def test_other_answers_are_answers(hosts: Hosts) -> None:
    hosts.answers["a"] = 500
    with client(calls(A, B), hosts) as web:
        assert [web.get("http://orders/").status_code for _ in range(3)] == [500, 200, 500]


def test_a_full_pool_is_no_failure_of_an_instance_and_not_tried_again(hosts: Hosts) -> None:
    hosts.answers["a"] = httpx.PoolTimeout
    chooser = calls(A, B)
    with client(chooser, hosts) as web, pytest.raises(httpx.PoolTimeout):
        web.get("http://orders/")
    assert (hosts.asked, chooser._failures) == (["a"], {})


def test_requests_with_a_key_go_to_the_instance_that_it_belongs_to(hosts: Hosts) -> None:
    owner = by_key((A, B, C), "seven")
    assert owner is not None
    with client(calls(A, B, C), hosts, key=lambda request: request.headers.get("x-customer")) as web:
        assert {web.get("http://orders/", headers={"x-customer": "seven"}).text for _ in range(9)} == {owner.id}
        assert {web.get("http://orders/").text for _ in range(9)} == {"a", "b", "c"}


def test_a_call_is_under_way_until_its_answer_is_closed(hosts: Hosts) -> None:
    hosts.answers["a"] = 503
    chooser = calls(A, B)
    with client(chooser, hosts) as web:
        with web.stream("GET", "http://orders/") as answer:
            assert list(chooser._under_way.values()) == [1]
            answer.read()
        assert chooser._under_way == {}
        hosts.answers["a"] = hosts.answers["b"] = lambda _: httpx.Response(200, text="all of it")
        assert web.get("http://orders/").text == "all of it"
        assert chooser._under_way == {}
        hosts.answers["a"] = hosts.answers["b"] = httpx.ReadTimeout
        with pytest.raises(httpx.ReadTimeout):
            web.post("http://orders/")
        assert chooser._under_way == {}


def test_a_service_under_tls_has_connections_of_its_own(hosts: Hosts) -> None:
    made: list[FakeTransport] = []

    def make() -> FakeTransport:
        made.append(FakeTransport(Hosts({})))
        return made[-1]

    both = [offer("x", service=service, meta={"scheme": "https"}) for service in ("bank", "shop")]
    with httpx.Client(transport=Transport(calls(*both, A), transport=make)) as web:
        for url in ("http://bank/", "http://shop/", "http://bank/", "http://orders/", "http://example.com/"):
            web.get(url)
    assert [each.hosts.asked for each in made] == [["a", "example.com"], ["x", "x"], ["x"]]


def test_one_transport_for_all_is_refused_under_tls(hosts: Hosts) -> None:
    with client(calls(offer("x", meta={"scheme": "https"})), hosts) as web:
        with pytest.raises(httpx.UnsupportedProtocol, match="pass a function that makes transports"):
            web.get("http://orders/")
        assert hosts.asked == []


class Broken(httpx.SyncByteStream):
    """A body that breaks in the middle."""

    def __iter__(self) -> Iterator[bytes]:
        yield b"half"
        raise httpx.RemoteProtocolError("the peer closed the connection")


def test_a_body_that_breaks_is_a_failed_call(hosts: Hosts) -> None:
    hosts.answers["a"] = lambda _: httpx.Response(200, stream=Broken())
    chooser = calls(A, B)
    with client(chooser, hosts) as web:
        with pytest.raises(httpx.RemoteProtocolError):
            web.get("http://orders/")
        assert {web.get("http://orders/").text for _ in range(4)} == {"b"}
    assert chooser._under_way == {}


def test_a_call_has_succeeded_only_when_its_body_has_ended(hosts: Hosts) -> None:
    chooser = calls(A)
    chooser.report_failure(A)
    with client(chooser, hosts) as web, web.stream("GET", "http://orders/") as answer:
        assert chooser._failures
        answer.read()
        assert not chooser._failures


def test_a_form_with_files_is_sent_again_where_they_can_be_read_again(hosts: Hosts) -> None:
    hosts.answers["a"] = 503
    hosts.answers["b"] = lambda request: httpx.Response(200, content=request.read())
    with client(calls(A, B), hosts) as web:
        again = web.put("http://orders/", files={"f": ("f", io.BytesIO(b"content"))}, data={"k": "v"})
        assert b"content" in again.content
        assert b'name="k"' in again.content
        assert hosts.asked == ["a", "b"]
    with client(calls(A, B), hosts) as web:
        assert web.put("http://orders/", files={"f": ("f", OnceReadable(b"content"))}).status_code == 503


class OnceReadable(io.BytesIO):
    """A file that cannot be read from its beginning again, as a pipe."""

    def seekable(self) -> bool:
        return False


async def test_the_async_transport_does_the_same(hosts: Hosts) -> None:
    hosts.answers |= {"a": httpx.ConnectError, "b": 503}
    chooser = calls(A, B, C)

    transport = AsyncTransport(chooser, transport=FakeTransport(hosts))
    async with httpx.AsyncClient(transport=transport) as web:
        found = await web.get("http://orders/")
        assert (found.text, hosts.asked) == ("c", ["a", "b", "c"])
        assert chooser._under_way == {}
        assert (await web.get("http://orders.example.com/")).status_code == 200
    with pytest.raises(NoInstanceToCall):
        await AsyncTransport(calls()).handle_async_request(httpx.Request("GET", "http://orders/"))
