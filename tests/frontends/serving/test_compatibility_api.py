"""What all compatibility APIs share: paths, queries, and their place at the door."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import attrs
import pytest

from gossipreg.config import COMPATIBILITY_APIS, AgentConfig
from gossipreg.errors import ConfigError, InvalidInstance, NodeClosed, StorageError, UnknownInstance
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.serving.compatibility_api import Query, Router, split, status_and_sentence
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.loading import load
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.frontends.serving.scopes import Action
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode

PATHS = Router(
    [
        ("GET", "/v1/kv/{key...}", "kv"),
        ("PUT", "/v1/check/pass/{id}", "pass"),
        ("GET", "/v1/{what}/state/{state}", "state"),
        ("GET", "/v1/health/state/any", "any"),
        ("POST", "/v1/health/state/any", "post"),
    ]
)


def test_a_path_is_found_with_what_its_placeholders_stand_for() -> None:
    found = PATHS.find("PUT", "/v1/check/pass/service%3Aweb%2F1")
    assert (found.handler, found.pattern) == ("pass", "/v1/check/pass/{id}")
    assert found.arguments == {"id": "service:web/1"}


def test_words_come_before_placeholders_and_an_open_end_takes_the_rest() -> None:
    assert PATHS.find("GET", "/v1/health/state/any").handler == "any"
    assert PATHS.find("GET", "/v1/health/state/critical").arguments == {"what": "health", "state": "critical"}
    assert PATHS.find("GET", "/v1/kv/a/b/c").arguments == {"key": "a/b/c"}


def test_a_last_slash_means_nothing_and_head_goes_where_get_goes() -> None:
    assert PATHS.find("HEAD", "/v1/health/state/any/").handler == "any"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1//state/any", 404),
        ("GET", "/v1/check/pass/web", 405),
        ("PUT", "/v1/health/state/any", 405),
        ("PUT", "/v1/check/pass/%ff", 400),
    ],
)
def test_what_is_not_there_is_refused(method: str, path: str, status: int) -> None:
    with pytest.raises(HttpError) as refusal:
        PATHS.find(method, path)
    assert refusal.value.answer.status == status


def test_a_method_that_is_not_meant_is_told_which_are() -> None:
    with pytest.raises(HttpError) as refusal:
        PATHS.find("PUT", "/v1/health/state/any")
    assert refusal.value.answer.headers == ((b"allow", b"GET, POST, HEAD"),)


def test_a_query_may_repeat_a_name_and_leave_out_a_value() -> None:
    path, query = split("/v1/x?tag=a&stale&tag=b%3D1&passing=False")
    assert path == "/v1/x"
    assert query.all("tag") == ("a", "b=1")
    assert query.first("tag") == "a"
    assert (query.flag("stale"), query.flag("passing"), query.flag("pretty")) == (True, False, False)
    assert "stale" in query
    assert split("/v1/x") == ("/v1/x", Query())


def test_a_query_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(HttpError, match="not UTF-8"):
        split("/v1/x?tag=%ff")


def test_every_no_has_its_status_and_its_sentence() -> None:
    assert status_and_sentence(HttpError(403, "no")) == (403, "no")
    assert status_and_sentence(InvalidInstance("port", "none")) == (400, "port: none")
    assert status_and_sentence(UnknownInstance("who?")) == (404, "who?")
    assert status_and_sentence(NodeClosed("gone")) == (503, "gone")
    assert status_and_sentence(StorageError("full")) == (500, "full")


@attrs.frozen
class Parrot:
    """Says what it was asked."""

    prefixes: ClassVar[tuple[str, ...]] = ("/parrot",)
    routine: ClassVar[frozenset[tuple[str, str]]] = frozenset()

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        return (("GET", "/parrot/{word}", Action.READ_CLUSTER),)

    def token(self, request: Request) -> str | None:
        return request.target.rpartition("/")[2]

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Response]:
        return "/parrot/{word}", Response(418, request.target.encode(), media=b"text/plain")


def door(node: FakeNode) -> Dispatcher:
    at = Address("127.0.0.1", 8500)
    return Dispatcher(
        ServerContext(node, lambda: None, LookupCache(node), compatibility_apis=(Parrot(),)), Guard(asked=at, bound=at)
    )


async def test_what_lies_below_a_prefix_is_for_its_compatibility_api_and_counted_by_its_pattern() -> None:
    shop = door(FakeNode())
    reply = await shop.answer(Request("GET", "/parrot/hello"), b"one")
    assert isinstance(reply, Response)
    assert (reply.status, reply.body) == (418, b"/parrot/hello")
    assert shop.server.requests["GET", "/parrot/{word}", 418] == 1


@pytest.mark.parametrize("target", ["/parrot", "/parrots/hello", "/api/v1/parrot/hello"])
async def test_nothing_else_is(target: str) -> None:
    reply = await door(FakeNode()).answer(Request("GET", target), b"one")
    assert isinstance(reply, Response)
    assert reply.status == 404


async def test_the_guard_stands_before_every_compatibility_api() -> None:
    reply = await door(FakeNode()).answer(Request("GET", "/parrot/hello", authority="evil.example"), b"one")
    assert isinstance(reply, Response)
    assert reply.status == 403


def test_every_compatibility_api_that_can_be_switched_on_is_there() -> None:
    prefixes = [prefix for each in load(COMPATIBILITY_APIS) for prefix in each.prefixes]
    assert len(prefixes) == len(set(prefixes)) >= len(COMPATIBILITY_APIS)
    assert not any(prefix.startswith("/api") for prefix in prefixes)


@pytest.mark.parametrize("on", [(), ("envoy",), ("consul", "eureka")], ids=lambda on: "+".join(on) or "off")
def test_what_is_switched_off_is_not_imported(on: tuple[str, ...]) -> None:
    """Of a whole agent's modules, in an interpreter of its own."""
    program = (
        "import sys, gossipreg.cli.run_agent\nfrom gossipreg.frontends.serving.loading import load\n"
        "load(sys.argv[1:])\nprint(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *on], capture_output=True, text=True, check=True)
    package = "gossipreg.frontends."
    loaded = {each.removeprefix(package).partition(".")[0] for each in ran.stdout.split() if each.startswith(package)}
    assert loaded & set(COMPATIBILITY_APIS) == set(on)


def test_compatibility_api_are_all_on_unless_told_and_none_are_by_off() -> None:
    assert AgentConfig().compatibility_apis == COMPATIBILITY_APIS
    assert AgentConfig(compatibility_apis=("off",)).compatibility_apis == ("off",)
    assert AgentConfig(compatibility_apis=("consul",)).compatibility_apis == ("consul",)


@pytest.mark.parametrize("names", [("zookeeper",), ("off", "consul")])
def test_a_compatibility_api_that_there_is_not_cannot_be_switched_on(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"compatibility_apis: .* is none of consul"):
        AgentConfig(compatibility_apis=names)
