"""Hedged calls with httpx: a second instance is asked when the first is slow, and one answer is the caller's."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from random import Random
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import AsyncTransport, Hedging, Transport
from tests.embed.offering import FakeRegistry, offer

A, B, C = offer("a"), offer("b"), offer("c")


@attrs.define
class Instance:
    """What an instance does: how long it takes, and what comes then."""

    seconds: float = 0.0
    outcome: int | Exception = 200


class Body(httpx.AsyncByteStream):
    """A body that knows whether it was closed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.text.encode()

    async def aclose(self) -> None:
        self.is_closed = True


@attrs.define
class SlowTransport(httpx.AsyncBaseTransport):
    """The instances, on trio's clock."""

    instances: dict[str, Instance]
    asked: list[tuple[float, str]] = attrs.field(factory=list)
    cancelled: list[str] = attrs.field(factory=list)
    bodies: list[Body] = attrs.field(factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.removesuffix(".test")
        instance = self.instances.get(name, Instance())
        self.asked.append((round(trio.current_time(), 3), name))
        try:
            await trio.sleep(instance.seconds)
        except trio.Cancelled:
            self.cancelled.append(name)
            raise
        if isinstance(instance.outcome, Exception):
            raise instance.outcome
        self.bodies.append(Body(name))
        return httpx.Response(instance.outcome, stream=self.bodies[-1])


@attrs.define
class Case:
    """A client whose calls are hedged, its chooser, and the instances as it calls them."""

    web: httpx.AsyncClient
    chooser: Chooser
    transport: SlowTransport
    start: float

    async def get(self, method: str = "GET", **options: Any) -> str:
        return (await self.web.request(method, "http://orders/", timeout=None, **options)).text

    def asked(self) -> list[tuple[float, str]]:
        return [(round(at - self.start, 3), name) for at, name in self.transport.asked]


Make = Callable[..., Awaitable[Case]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    clients: list[httpx.AsyncClient] = []

    async def make(hedging: Hedging, *, attempts: int = 3, **instances: Instance) -> Case:
        chooser = Chooser(FakeRegistry((A, B, C)), strategy="round-robin", rng=Random(1), clock=trio.current_time)
        transport = SlowTransport(instances)
        web = httpx.AsyncClient(
            transport=AsyncTransport(chooser, hedging=hedging, attempts=attempts, transport=transport)
        )
        clients.append(web)
        return Case(web, chooser, transport, trio.current_time())

    yield make
    for each in clients:
        await each.aclose()


def assert_nothing_is_left(case: Case, *failed: str) -> None:
    assert case.chooser._under_way == {}
    assert sorted(id_ for _, _, id_ in case.chooser._failures) == sorted(failed)
    assert all(body.is_closed for body in case.transport.bodies)


async def test_a_slow_instance_is_overtaken_by_another_and_counts_as_neither_good_nor_bad(
    make: Make, autojump_clock: MockClock
) -> None:
    case = await make(Hedging(after=0.1), a=Instance(5.0), b=Instance(0.05), c=Instance(0.05))
    found = await case.get()
    assert trio.current_time() - case.start == pytest.approx(0.15)
    assert [at for at, _ in case.asked()] == [0.0, 0.1]
    assert found == case.asked()[1][1]
    assert case.transport.cancelled == ["a"]
    assert_nothing_is_left(case)


async def test_a_fast_instance_is_asked_alone(make: Make, autojump_clock: MockClock) -> None:
    case = await make(Hedging(after=0.1), a=Instance(0.05))
    assert await case.get() == "a"
    assert case.asked() == [(0.0, "a")]


async def test_the_first_may_still_win(make: Make, autojump_clock: MockClock) -> None:
    case = await make(Hedging(after=0.1), a=Instance(0.2), b=Instance(5.0), c=Instance(5.0))
    assert await case.get() == "a"
    assert len(case.asked()) == 2
    assert trio.current_time() - case.start == pytest.approx(0.2)
    assert_nothing_is_left(case)


@pytest.mark.parametrize("trouble", [503, httpx.ReadError("broken"), httpx.ConnectError("refused")])
async def test_a_bad_end_does_not_win_over_what_may_be_good(
    trouble: int | Exception, make: Make, autojump_clock: MockClock
) -> None:
    bad = Instance(0.05, trouble)
    case = await make(Hedging(after=0.1), a=Instance(1.0), b=bad, c=bad)
    assert await case.get() == "a"
    assert_nothing_is_left(case, case.asked()[1][1])


async def test_when_both_are_bad_a_third_is_tried(make: Make, autojump_clock: MockClock) -> None:
    bad = Instance(0.2, 503)
    case = await make(Hedging(after=0.1), a=bad, b=bad, c=bad)
    found = await case.web.get("http://orders/", timeout=None)
    assert (found.status_code, sorted(name for _, name in case.asked())) == (503, ["a", "b", "c"])
    assert_nothing_is_left(case, "a", "b", "c")


@pytest.mark.parametrize(("method", "is_generated"), [("POST", False), ("PATCH", False), ("PUT", True)])
async def test_what_may_be_sent_once_is_never_hedged(
    method: str, is_generated: bool, make: Make, autojump_clock: MockClock
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    case = await make(Hedging(after=0.1), a=Instance(1.0))
    assert await case.get(method, content=body() if is_generated else b"twice") == "a"
    assert case.asked() == [(0.0, "a")]


async def test_two_attempts_are_no_more_than_attempts_allow(make: Make, autojump_clock: MockClock) -> None:
    case = await make(Hedging(after=0.1), attempts=1, a=Instance(1.0))
    assert await case.get() == "a"
    assert case.asked() == [(0.0, "a")]


async def test_a_slow_service_is_not_asked_twice_as_much(make: Make, autojump_clock: MockClock) -> None:
    slow = Instance(1.0)
    case = await make(Hedging(after=0.1, share=0.1), a=slow, b=slow, c=slow)
    for _ in range(50):
        await case.get()
    assert len(case.asked()) - 50 == 6, "one to begin with, and one for each ten calls"
    assert_nothing_is_left(case)


async def test_the_delay_is_learnt_from_the_answers(make: Make, autojump_clock: MockClock) -> None:
    usual = Instance(0.05)
    case = await make(Hedging(), a=usual, b=usual, c=usual)
    for _ in range(21):
        await case.get()
    case.transport.instances["a"] = Instance(5.0)
    case.transport.asked.clear()
    before = trio.current_time()
    assert await case.get() != "a"
    assert trio.current_time() - before == pytest.approx(0.1)


async def test_a_caller_that_gives_up_leaves_nothing_behind(make: Make, autojump_clock: MockClock) -> None:
    case = await make(Hedging(after=0.1), a=Instance(5.0), b=Instance(5.0), c=Instance(5.0))
    with trio.move_on_after(0.5):
        await case.get()
    assert len(case.asked()) == 2
    assert sorted(case.transport.cancelled) == sorted(name for _, name in case.asked())
    assert_nothing_is_left(case)


# In threads

SPAN: ContextVar[str] = ContextVar("SPAN", default="")


@attrs.define
class BlockingTransport(httpx.BaseTransport):
    """``a`` answers when it is released; all others at once."""

    released: threading.Event = attrs.field(factory=threading.Event)
    asked: list[tuple[str, str]] = attrs.field(factory=list)
    answers: list[httpx.Response] = attrs.field(factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.removesuffix(".test")
        self.asked.append((name, SPAN.get()))
        if name == "a":
            self.released.wait(60)
        self.answers.append(httpx.Response(200, stream=httpx.ByteStream(name.encode())))
        return self.answers[-1]


def test_in_threads_the_answer_that_lost_is_closed_when_it_comes() -> None:
    chooser = Chooser(FakeRegistry((A, B)), strategy="round-robin", rng=Random(1))
    transport = BlockingTransport()
    SPAN.set("a span")
    with httpx.Client(transport=Transport(chooser, hedging=Hedging(after=0.01), transport=transport)) as web:
        assert web.get("http://orders/").text == "b"
        assert list(chooser._under_way) == [("", "a", "a")]
        transport.released.set()
        until = time.monotonic() + 60
        while chooser._under_way and time.monotonic() < until:
            time.sleep(0.01)
    assert chooser._under_way == {}
    assert chooser._failures == {}
    assert transport.asked == [("a", "a span"), ("b", "a span")]
    assert all(each.is_closed for each in transport.answers)


def test_in_threads_a_bad_end_does_not_win_either() -> None:
    class Refusing(BlockingTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if request.url.host == "b.test":
                self.released.set()
                raise httpx.ConnectError("refused")
            return super().handle_request(request)

    chooser = Chooser(FakeRegistry((A, B)), strategy="round-robin", rng=Random(1))
    with httpx.Client(transport=Transport(chooser, hedging=Hedging(after=0.01), transport=Refusing())) as web:
        assert web.get("http://orders/").text == "a"
    assert chooser._under_way == {}
    assert list(chooser._failures) == [("", "b", "b")]
