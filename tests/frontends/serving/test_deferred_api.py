"""Deferred APIs: nothing of theirs is loaded before a client asks, and then they answer as if it had always been."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.deferred_api import DeferredApi
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import Reply, Response
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action
from gossipreg.frontends.web import create_page
from tests.frontends.fake_node import FakeNode
from tests.frontends.test_scopes import HERE
from tests.frontends.wire import dispatcher

#: Says which modules of a frontend have been imported: once all are there, once one of them has been asked.
LOADING = """\
import sys
from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.web import create_page
apis = (*load(COMPATIBILITY_APIS), create_page())
print(*(name for name in sys.modules if name.startswith("gossipreg.frontends.")))
apis[0].routes
print(*(name for name in sys.modules if name.startswith("gossipreg.frontends.")))
"""

#: Says whether the main thread imported what answers, and whether it is there.
IN_A_THREAD = """\
import sys, threading, trio
from gossipreg.frontends.traefik import create_api
class Watch:
    threads = set()
    def find_spec(self, name, path=None, target=None):
        if name == "gossipreg.frontends.traefik.api":
            self.threads.add(threading.current_thread())
sys.meta_path.insert(0, Watch())
trio.run(create_api().load)
print(threading.main_thread() in Watch.threads, "gossipreg.frontends.traefik.api" in sys.modules)
"""


class Made:
    """Counts how many there are."""

    count = 0
    routes = Router([("GET", "/made", Action.SHOW_PAGE), ("GET", "/made/one", Action.SHOW_PAGE)]).routes

    def __init__(self) -> None:
        Made.count += 1

    def token(self, request: Request) -> str | None:
        return request.token

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        return "/made/one", Response(204)


@pytest.fixture
def made() -> DeferredApi:
    Made.count = 0
    return DeferredApi(__name__, "Made", ("/made",))


def test_those_that_are_bundled_load_nothing_until_one_is_asked() -> None:
    ran = subprocess.run([sys.executable, "-c", LOADING], capture_output=True, text=True, check=True)
    first, second = (set(line.split()) for line in ran.stdout.splitlines())
    own = [f"gossipreg.frontends.{name}." for name in (*COMPATIBILITY_APIS, "web")]
    assert [name for name in first if name.startswith(tuple(own))] == []
    assert "gossipreg.frontends.consul.api" in second
    assert [name for name in second if name.startswith(tuple(own[1:]))] == []


def test_the_first_request_imports_it_in_a_thread() -> None:
    ran = subprocess.run([sys.executable, "-c", IN_A_THREAD], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


async def test_a_request_for_it_loads_it_first(
    fake: FakeNode, made: DeferredApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[DeferredApi] = []

    async def load(self: DeferredApi) -> None:
        assert Made.count == 0
        loaded.append(self)

    monkeypatch.setattr(DeferredApi, "load", load)
    reply = await dispatcher(fake, None, made).answer(Request("GET", "/made/one", str(HERE)), b"name")
    assert isinstance(reply, Response)
    assert (reply.status, loaded, Made.count) == (204, [made], 1)


def test_what_answers_is_made_once(made: DeferredApi) -> None:
    assert Made.count == 0
    assert made.routes
    assert made.token(Request("GET", "/made")) is None
    assert Made.count == 1


@pytest.mark.parametrize("api", [*load(COMPATIBILITY_APIS), create_page()], ids=[*COMPATIBILITY_APIS, "web"])
def test_each_answers_below_its_prefixes_and_names_frequent_requests_by_its_patterns(api: DeferredApi) -> None:
    assert all(pattern.startswith(api.prefixes) for _, pattern, _ in api.routes)
    assert api.routine <= {(method, pattern) for method, pattern, _ in api.routes}


def test_a_path_is_for_the_api_below_whose_prefix_it_is_or_at_which_it_has_a_route(
    fake: FakeNode, made: DeferredApi
) -> None:
    other = DeferredApi("gossipreg.frontends.traefik.api", "Traefik", ("/traefik",))
    found = dispatcher(fake, None, made, other)._api_for
    assert found("/made/one") is made
    assert Made.count == 0, "a path below the prefix loads nothing yet"
    assert found("/made") is made
    assert found("/traefik") is None
    assert found("/traefik/v1/config") is other
    assert found("/madeup") is None
    assert found("/") is None
