"""What all compatibility APIs share: how they are found, and which requests reach them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import ClassVar

import attrs
import pytest

from gossipreg.agent_config import COMPATIBILITY_APIS, AgentConfig
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


@pytest.mark.parametrize("names", [("a/b",), ("off", "consul"), ("",)])
def test_what_can_be_no_name_of_an_api_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"compatibility_apis: .* is no name of an API"):
        AgentConfig(compatibility_apis=names)


def test_a_compatibility_api_that_is_not_installed_cannot_be_switched_on() -> None:
    assert AgentConfig(compatibility_apis=("zookeeper",)).compatibility_apis == ("zookeeper",)
    with pytest.raises(ConfigError, match=r"'zookeeper' is none of consul, .* entry point in gossipreg.frontends"):
        load(("zookeeper",))


def package(directory: Path, entry_point: str, code: str) -> None:
    """An installed package with one module, ``shop``, and one entry point."""
    (directory / "shop.py").write_text(code)
    info = directory / "shop-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[gossipreg.frontends]\n{entry_point}\n")


def test_another_package_brings_a_compatibility_api_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package(tmp_path, "shop = shop:Shop", "class Shop:\n    prefixes = ('/shop',)\n")
    assert [each.prefixes for each in load(("shop", "envoy"))] == [("/shop",), ("/v3",)]


@pytest.mark.parametrize("place", ["nowhere:Shop", "shop:Missing"])
def test_one_that_cannot_be_loaded_is_named(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package(tmp_path, f"shop = {place}", "")
    with pytest.raises(ConfigError, match=f"'shop' cannot be loaded from {place}"):
        load(("shop",))


def test_our_own_are_entry_points_too() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["gossipreg.frontends"]
    assert declared == {name: f"gossipreg.frontends.{name}:create_api" for name in COMPATIBILITY_APIS}
