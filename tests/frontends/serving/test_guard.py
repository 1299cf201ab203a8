from __future__ import annotations

import attrs
import pytest
import trio

from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import HttpError
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import acceptor, ask, dial, get, put

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
    ON_LOOPBACK.check(Request("GET", "/", name))


@pytest.mark.parametrize(
    "name",
    ["evil.example", "evil.example:8500", "localhost.evil.example", "0.0.0.0", "10.0.0.1", "", ":", "[", "a b", "1:x"],
)
def test_loopback_is_not_asked_by_other_names(name: str) -> None:
    with pytest.raises(HttpError) as refused:
        ON_LOOPBACK.check(Request("GET", "/", name))
    assert refused.value.answer.status == 403
    assert str(refused.value) == f"{name!r} is not this machine: ask for 127.0.1.1:8500, or localhost:8500"


def test_beyond_loopback_a_listener_may_have_any_name() -> None:
    ON_ALL.check(Request("GET", "/", "registry.example"))


@pytest.mark.parametrize("guard", [ON_LOOPBACK, ON_ALL])
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH"])
@pytest.mark.parametrize("origin", ["http://localhost:8500", "https://evil.example", "null", ""])
def test_no_page_may_change_anything(guard: Guard, method: str, origin: str) -> None:
    with pytest.raises(HttpError) as refused:
        guard.check(Request(method, "/", "localhost", origin))
    assert refused.value.answer.status == 403


@pytest.mark.parametrize(
    ("guard", "host", "origin", "site"),
    [
        (ON_LOOPBACK, "localhost:8500", "http://localhost:8500", "same-origin"),
        (ON_LOOPBACK, "127.0.0.1:8500", "http://127.0.0.1:8500", None),
        (ON_LOOPBACK, "127.0.0.1:8500", "https://ops.example", "same-origin"),  # a proxy that names this host
        (ON_ALL, "10.0.0.5:8500", "http://10.0.0.5:8500", None),
    ],
)
def test_the_agents_own_page_may_change_things(guard: Guard, host: str, origin: str, site: str | None) -> None:
    guard.check(Request("PUT", "/", host, origin, fetch_site=site))


@pytest.mark.parametrize(
    ("guard", "host", "origin", "site"),
    [
        (ON_LOOPBACK, "evil.example:8500", "http://evil.example:8500", "same-origin"),  # a name that was rebound
        (ON_ALL, "evil.example:8500", "http://evil.example:8500", "same-origin"),
        (ON_ALL, "evil.example:8500", "http://evil.example:8500", None),
        (ON_LOOPBACK, "localhost:8500", "http://localhost:8500", "same-site"),
        (ON_LOOPBACK, "localhost:8500", "http://localhost:8500", "cross-site"),
        (ON_LOOPBACK, "localhost:8500", "http://localhost:3000", None),
        (ON_LOOPBACK, None, "http://localhost:8500", "same-origin"),
    ],
)
def test_a_page_that_may_be_another_changes_nothing(
    guard: Guard, host: str | None, origin: str, site: str | None
) -> None:
    with pytest.raises(HttpError, match="may not change anything here"):
        guard.check(Request("DELETE", "/", host, origin, fetch_site=site, token="any"))


def test_where_tokens_are_asked_for_a_page_from_any_name_may_change_things_with_one() -> None:
    sealed = Guard(ON_ALL.asked, ON_ALL.bound, Access((Token("ops", b"digest", frozenset(Scope)),)))
    of_proxy = Request("PUT", "/", "ops.example", "https://ops.example", fetch_site="same-origin")
    sealed.check(attrs.evolve(of_proxy, token="any"))
    with pytest.raises(HttpError, match="may not change anything here"):
        sealed.check(of_proxy)


@pytest.mark.parametrize("guard", [ON_LOOPBACK, ON_ALL])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "https://evil.example", "null", "", "ftp://localhost:8500"]
)
def test_no_page_of_another_origin_may_ask(guard: Guard, method: str, origin: str) -> None:
    with pytest.raises(HttpError) as refused:
        guard.check(Request(method, "/", "localhost:8500", origin))
    assert refused.value.answer.status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("dest", ["image", "script", "iframe", "empty", None])
def test_no_page_of_another_site_may_ask_for_a_part_of_itself(site: str, dest: str | None) -> None:
    with pytest.raises(HttpError) as refused:
        ON_LOOPBACK.check(Request("GET", "/", "localhost:8500", fetch_site=site, fetch_dest=dest))
    assert refused.value.answer.status == 403


@pytest.mark.parametrize(("site", "dest"), [("none", "document"), ("cross-site", "document"), ("same-origin", "empty")])
def test_a_person_and_our_own_page_may_ask(site: str, dest: str) -> None:
    ON_LOOPBACK.check(Request("GET", "/", "localhost:8500", fetch_site=site, fetch_dest=dest))
    ON_LOOPBACK.check(Request("GET", "/", "localhost:8500", "http://localhost:8500", fetch_site="same-origin"))
    ON_LOOPBACK.check(Request("GET", "/", "127.0.0.1:8500", "https://ops.example", fetch_site="same-origin"))  # a proxy


async def test_an_image_on_a_foreign_page_is_not_answered(fake: FakeNode) -> None:
    request = get("/api/v1/services/orders", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image")
    async with trio.open_nursery() as nursery:
        [answer] = await ask(dial(acceptor(fake), nursery), request)
    assert (answer.status, answer.error) == (
        403,
        "a page of another site may not ask here (Sec-Fetch-Site: cross-site)",
    )


async def test_a_page_cannot_register_an_instance(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        request = put(b'{"service": "bad", "port": 1}', "Origin: null")
        [answer] = await ask(dial(acceptor(fake), nursery), request)
    assert answer.status == 403
    assert fake.services() == {}
