"""How long a call to a service takes at most: each attempt, and all of them with the answer's body."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import httpx
import pytest

from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import Transport
from gossipreg.errors import ConfigError
from tests.embed.offering import FakeRegistry, offer
from tests.embed.test_httpx import FakeTransport, Hosts, calls, client

A, B, C = offer("a"), offer("b"), offer("c")


@attrs.define
class Time:
    """A clock that stands still unless it is moved, and what a request found its timeouts to be."""

    now: float = 0.0
    seen: list[tuple[str, float | None]] = attrs.field(factory=list)

    def __call__(self) -> float:
        return self.now

    def step(self, request: httpx.Request, name: str, seconds: float) -> None:
        """Do what httpcore does in each step: read how long it may take, and take ``seconds``."""
        self.seen.append((name, request.extensions["timeout"].get(name)))
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def answering(time: Time, status: int, **seconds: float) -> Callable[[httpx.Request], httpx.Response]:
    """An instance at which each step takes so long."""

    def answer(request: httpx.Request) -> httpx.Response:
        for name, each in seconds.items():
            time.step(request, name, each)
        return httpx.Response(status)

    return answer


def test_all_attempts_together_take_no_longer_than_the_total(time: Time) -> None:
    hosts = Hosts(dict.fromkeys("abc", answering(time, 503, read=2.0)))
    with client(calls(A, B, C, clock=time), hosts, total=3.5, attempts=10) as web:
        assert web.get("http://orders/", timeout=3.0).status_code == 503
    assert time.seen == [("read", 3.0), ("read", 1.5)]


def test_the_steps_of_one_attempt_share_its_time(time: Time) -> None:
    hosts = Hosts({"a": answering(time, 200, connect=0.75, write=0.5, read=0.0)})
    with client(calls(A, clock=time), hosts, per_try=2.0) as web:
        web.get("http://orders/", timeout=1.0)
    assert time.seen == [("connect", 1.0), ("write", 1.0), ("read", 0.75)]


def test_each_attempt_has_its_own_time(time: Time) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        time.step(request, "read", 2.0)
        raise httpx.ReadTimeout("late")

    hosts = Hosts({"a": late, "b": answering(time, 200, read=0.0)})
    with client(calls(A, B, clock=time), hosts, per_try=2.0) as web:
        assert web.get("http://orders/", timeout=None).status_code == 200
    assert time.seen == [("read", 2.0), ("read", 2.0)]


def test_waiting_for_a_free_connection_takes_none_of_an_attempts_time(time: Time) -> None:
    hosts = Hosts({"a": answering(time, 200, pool=5.0, connect=0.0)})
    with client(calls(A, clock=time), hosts, per_try=2.0) as web:
        web.get("http://orders/", timeout=None)
    assert time.seen == [("pool", None), ("connect", 2.0)]


def test_a_body_may_take_longer_than_an_attempt_but_not_than_the_total(time: Time) -> None:
    class Slow(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(9):
                time.now += 1.0
                yield b"x"

    hosts = Hosts({"a": lambda _: httpx.Response(200, stream=Slow())})
    chooser = calls(A, clock=time)
    with client(chooser, hosts, per_try=2.0) as web:
        assert web.get("http://orders/").text == "x" * 9
    with client(chooser, hosts, total=4.0) as web, pytest.raises(httpx.ReadTimeout, match="is not complete in time"):
        web.get("http://orders/")
    assert len(chooser._failures) == 1
    assert chooser._under_way == {}


def test_without_limits_of_ours_the_clients_timeouts_pass_unchanged(time: Time) -> None:
    hosts = Hosts({"a": lambda request: httpx.Response(200, json=request.extensions["timeout"])})
    with client(calls(A), hosts) as web:
        found = web.get("http://orders/", timeout=httpx.Timeout(7.0, pool=1.0)).json()
    assert found == {"connect": 7.0, "read": 7.0, "write": 7.0, "pool": 1.0}


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"per_try": 0.0}, {"total": -1.0}, {"total": float("nan")}])
def test_limits_that_allow_no_call_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Transport(Chooser(FakeRegistry()), transport=FakeTransport(Hosts({})), **wrong)  # type: ignore[arg-type]
