"""Every answer says how far it can be relied on, in every frontend, and nothing is rendered anew for it."""

from __future__ import annotations

import pytest

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.events import NodeEvent
from gossipreg.frontends.http.event_encoder import frame
from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse, Response
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Instance
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import dispatcher

LOOKUPS = (
    "/api/v1/node",
    "/api/v1/members",
    "/api/v1/services",
    "/api/v1/services/orders",
    "/api/v1/services/missing",
    "/api/v1/policies",
    "/api/v1/http_sd",
    "/healthz",
    "/metrics",
    "/v1/health/service/orders",
    "/v1/catalog/service/orders",
    "/v1/catalog/services",
    "/v1/agent/members",
    "/eureka/apps",
    "/eureka/apps/orders",
    "/traefik/v1/config",
)


def listener(node: FakeNode, access: Access | None = None) -> Dispatcher:
    return dispatcher(node, access, *load(COMPATIBILITY_APIS))


def node(*, isolated: bool = True, reachable: float = 2 / 3) -> FakeNode:
    made = FakeNode(isolated=isolated, reachable=reachable)
    made.hold(Instance(id="o1", service="orders", host="10.0.0.1", port=1, owner="beta"))
    return made


def reliance(answer: Response | EventStream) -> dict[bytes, bytes]:
    return {name: value for name, value in answer.headers if name.startswith(b"x-gossipreg-") and b"index" not in name}


@pytest.mark.parametrize("target", LOOKUPS)
async def test_every_lookup_carries_it(target: str) -> None:
    reply = await listener(node()).answer(Request("GET", target), b"one")
    assert isinstance(reply, Response)
    assert reliance(reply) == {b"x-gossipreg-isolated": b"true", b"x-gossipreg-reachable": b"0.66"}


async def test_envoy_is_told_as_well() -> None:
    body = (
        b'{"resource_names":["orders"],"type_url":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"}'
    )
    asked = Request("POST", "/v3/discovery:endpoints", announces_body=True, body=body)
    reply = await listener(node()).answer(asked, b"one")
    answer = await reply.answer() if isinstance(reply, DeferredResponse) else reply
    assert isinstance(answer, Response)
    assert reliance(answer)[b"x-gossipreg-isolated"] == b"true"


async def test_an_answer_that_was_waited_for_says_what_is_so_when_it_comes() -> None:
    there = node(isolated=False, reachable=1.0)
    index = there.index("orders")
    reply = await listener(there).answer(Request("GET", f"/api/v1/services/orders?index={index}&wait=10ms"), b"one")
    assert isinstance(reply, DeferredResponse)
    there.isolated = True
    assert reliance(await reply.answer())[b"x-gossipreg-isolated"] == b"true"


async def test_a_stream_of_events_begins_with_it() -> None:
    reply = await listener(node(isolated=False, reachable=1.0)).answer(Request("GET", "/api/v1/events"), b"one")
    assert isinstance(reply, EventStream)
    assert reliance(reply) == {b"x-gossipreg-isolated": b"false", b"x-gossipreg-reachable": b"1.00"}


def test_a_change_is_an_event() -> None:
    assert frame(NodeEvent("isolated", "alpha", 1 / 3)) == (
        b'event: node-isolated\ndata: {"name":"alpha","isolated":true,"reachable":0.3333}\n\n'
    )


async def test_what_is_cached_stays_cached_when_it_changes() -> None:
    there = node(isolated=False)
    shop = listener(there)
    first = await shop.answer(Request("GET", "/api/v1/services/orders"), b"one")
    there.isolated = True
    second = await shop.answer(Request("GET", "/api/v1/services/orders"), b"two")
    assert isinstance(first, Response)
    assert isinstance(second, Response)
    assert first.body is second.body
    assert there.lookups == 1
    assert first.headers != second.headers


@pytest.mark.parametrize("target", ["/api/v1/members", "/v1/catalog/services"])
async def test_a_client_that_may_not_ask_is_not_told(target: str) -> None:
    access = Access((Token("t", b"\0" * 32, frozenset({Scope.READ})),))
    reply = await listener(node(), access).answer(Request("GET", target), b"one")
    assert isinstance(reply, Response)
    assert reply.status in (401, 403)
    assert reliance(reply) == {}
