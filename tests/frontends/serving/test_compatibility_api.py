"""What all compatibility APIs share: paths, queries, and their place at the door."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import attrs
import pytest

from gossipreg.config import COMPATIBILITY_APIS, AgentConfig
from gossipreg.errors import ConfigError
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import Response
from gossipreg.frontends.serving.scopes import Action
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import dispatcher


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


def listener(node: FakeNode) -> Dispatcher:
    return dispatcher(node, None, Parrot())


async def test_what_lies_below_a_prefix_is_for_its_compatibility_api_and_counted_by_its_pattern() -> None:
    shop = listener(FakeNode())
    reply = await shop.answer(Request("GET", "/parrot/hello"), b"one")
    assert isinstance(reply, Response)
    assert (reply.status, reply.body) == (418, b"/parrot/hello")
    assert shop.server.requests["GET", "/parrot/{word}", 418] == 1


@pytest.mark.parametrize("target", ["/parrot", "/parrots/hello", "/api/v1/parrot/hello"])
async def test_nothing_else_is(target: str) -> None:
    reply = await listener(FakeNode()).answer(Request("GET", target), b"one")
    assert isinstance(reply, Response)
    assert reply.status == 404


async def test_the_guard_stands_before_every_compatibility_api() -> None:
    reply = await listener(FakeNode()).answer(Request("GET", "/parrot/hello", authority="evil.example"), b"one")
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
        "import sys, gossipreg.cli.run_agent\nfrom gossipreg.frontends.serving.compatibility_api import load\n"
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
