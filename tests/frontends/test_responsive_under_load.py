"""No answer about many instances is made in one go: others have their turn meanwhile."""

from __future__ import annotations

import json

import pytest
import trio

from gossipreg.check import Check
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.request import Request
from gossipreg.frontends.serving.response import DeferredResponse
from gossipreg.model import Instance
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import HTTP, dispatcher

_INSTANCES = 40

_ENVOY = json.dumps({"resource_names": ["orders"]}).encode()


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    for number in range(_INSTANCES):
        node.hold(Instance(id=f"orders-{number}", service="orders", host="10.0.0.1", port=80, owner="alpha"))
        node.checked[f"orders-{number}"] = (Check(ttl=5.0),)
    return node


async def turns(node: FakeNode, method: str, target: str, body: bytes) -> int:
    """How many turns another task has while the answer is made, where a slice is over after each step."""
    listener = dispatcher(node, None, *load(("consul", "eureka", "envoy", "traefik")))
    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await trio.lowlevel.checkpoint()
            count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        request = Request(method, target, authority=str(HTTP), announces_body=bool(body), body=body)
        reply = await listener.answer(request, b"name")
        if isinstance(reply, DeferredResponse):
            await reply.answer()
        nursery.cancel_scope.cancel()
    return count


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/api/v1/services/orders", b""),
        ("GET", "/api/v1/http_sd", b""),
        ("GET", "/api/v1/checks", b""),
        ("GET", "/v1/health/service/orders", b""),
        ("GET", "/v1/health/checks/orders", b""),
        ("GET", "/v1/health/state/any", b""),
        ("GET", "/v1/health/state/passing", b""),
        ("GET", "/v1/health/node/alpha", b""),
        ("GET", "/v1/catalog/service/orders", b""),
        ("GET", "/v1/catalog/services", b""),
        ("GET", "/v1/catalog/services?filter=ServiceID+!=+x", b""),
        ("GET", "/v1/catalog/node/alpha", b""),
        ("GET", "/v1/catalog/node-services/alpha", b""),
        ("GET", "/v1/query/orders/execute", b""),
        ("GET", "/v1/agent/services", b""),
        ("GET", "/v1/agent/checks", b""),
        ("GET", "/v1/agent/health/service/name/orders", b""),
        ("GET", "/eureka/apps", b""),
        ("GET", "/eureka/apps/delta", b""),
        ("GET", "/eureka/apps/ORDERS", b""),
        ("GET", "/eureka/vips/orders", b""),
        ("GET", "/traefik/v1/config", b""),
        ("POST", "/v3/discovery:endpoints", _ENVOY),
    ],
)
async def test_others_have_their_turn_while_an_answer_is_made(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, method: str, target: str, body: bytes
) -> None:
    monkeypatch.setattr(limits, "SLICE_SECONDS", 0.0)
    assert await turns(node, method, target, body) >= _INSTANCES // 2  # in which order tasks run is drawn
