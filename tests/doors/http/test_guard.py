from __future__ import annotations

import pytest
import trio

from gossipreg.doors.http.answers import Refusal
from gossipreg.doors.http.guard import Guard
from gossipreg.model import Address
from tests.doors.http.fake_node import FakeNode
from tests.doors.http.wire import ask, dial, put, reception

ON_LOOPBACK = Guard(asked=Address("myhost", 8500), bound=Address("127.0.1.1", 8500))
ON_ALL = Guard(asked=Address("0.0.0.0", 8500), bound=Address("0.0.0.0", 8500))


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LocalHost:8500",
        "127.0.0.1",
        "127.0.0.1:8500",
        "127.9.9.9:1",
        "[::1]:8500",
        "myhost:8500",
        "MYHOST",
    ],
)
def test_loopback_is_asked_by_its_own_names(name: str) -> None:
    ON_LOOPBACK.check("GET", name, None)


@pytest.mark.parametrize(
    "name",
    ["evil.example", "evil.example:8500", "localhost.evil.example", "0.0.0.0", "10.0.0.1", "", ":", "[", "a b", "1:x"],
)
def test_loopback_is_not_asked_by_other_names(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        ON_LOOPBACK.check("GET", name, None)
    assert refused.value.answer.status == 403
    assert str(refused.value) == f"{name!r} is not this machine: ask for 127.0.1.1:8500, or localhost:8500"


def test_beyond_loopback_a_door_may_have_any_name() -> None:
    ON_ALL.check("GET", "registry.example", None)


@pytest.mark.parametrize("guard", [ON_LOOPBACK, ON_ALL])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("origin", ["http://localhost:8500", "https://evil.example", "null", ""])
def test_no_page_may_change_anything(guard: Guard, method: str, origin: str) -> None:
    with pytest.raises(Refusal) as refused:
        guard.check(method, "localhost", origin)
    assert refused.value.answer.status == 403


def test_a_page_may_ask() -> None:
    ON_LOOPBACK.check("GET", "localhost", "http://localhost:3000")


async def test_a_page_cannot_register_an_instance(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        request = put(b'{"service": "bad", "port": 1}', "Origin: null")
        [answer] = await ask(dial(reception(fake), nursery), request)
    assert answer.status == 403
    assert fake.services() == {}
