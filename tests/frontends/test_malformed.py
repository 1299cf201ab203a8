"""Whatever nonsense comes in a body, a compatibility API says no in its own form, and nothing has changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import attrs
import httpx
import pytest
import trio

from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.check import Check
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode

#: Nothing, what ends too early, what is no object, what is no text, what is too deep, and objects of the wrong things.
NONSENSE: Final = {
    "empty": b"",
    "cut off": b'{"Name": "web", "instance": {"hostName',
    "XML cut off": b"<instance><hostName>",
    "no object": b"[1, 2]",
    "null": b"null",
    "a number": b"1e999",
    "no text": b"\xff\xfe\x00{",
    "half a pair": b'{"Name": "\\ud800", "instance": {"hostName": "\\ud800"}, "type_url": "\\ud800"}',
    "a form": b"Name=web&Port=80",
    "very deep": b"[" * 60_000,
    "deep objects": b'{"node":' * 5_000,
    "entities": b'<!DOCTYPE x [<!ENTITY a "aa">]><instance>&a;</instance>',
    "wrong kinds": b'{"Name": {}, "Port": "x", "Status": 3, "ServiceID": [], "instance": 4, "resource_names": 5}',
}


def is_sentence_of_text(answer: httpx.Response) -> bool:
    return answer.headers["content-type"].startswith("text/plain") and bool(answer.text.strip())


def is_status_of_grpc(answer: httpx.Response) -> bool:
    said = answer.json()
    return bool(said.keys() == {"code", "message"} and said["code"] == 3 and said["message"])


def is_sentence_of_json(answer: httpx.Response) -> bool:
    return bool({"error", "code"} <= answer.json().keys() <= {"error", "code", "field"})


#: Every path that reads a body, by its API, and the form of its no.
READING: Final = (
    ("consul", "PUT", "/v1/agent/service/register", is_sentence_of_text),
    ("consul", "PUT", "/v1/agent/check/register", is_sentence_of_text),
    ("consul", "PUT", "/v1/agent/check/update/service:orders-1", is_sentence_of_text),
    ("eureka", "POST", "/eureka/apps/ORDERS", is_sentence_of_text),
    ("eureka", "POST", "/eureka/v2/apps/ORDERS", is_sentence_of_text),
    ("envoy", "POST", "/v3/discovery:endpoints", is_status_of_grpc),
)

#: Traefik sends no bodies: what can be malformed is its query.
QUERIES: Final = (
    ("consul", "/v1/health/service/orders?index=soon", is_sentence_of_text),
    ("consul", "/v1/health/service/orders?filter=((", is_sentence_of_text),
    ("consul", "/v1/catalog/services?near=%ff", is_sentence_of_text),
    ("eureka", "/eureka/apps?regions=%ff", is_sentence_of_text),
    ("traefik", "/traefik/v1/config?services=orders", is_sentence_of_json),
    ("traefik", "/traefik/v1/config?service=%ff", is_sentence_of_json),
    ("envoy", "/v3/discovery:endpoints?x=%ff", lambda answer: answer.json().keys() == {"code", "message"}),
)


@pytest.fixture
async def node() -> FakeNode:
    node = FakeNode()
    await node.register("orders", id="orders-1", port=80, checks=(Check(name="service", ttl=10),))
    return node


@pytest.fixture
async def client(node: FakeNode, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    serve = partial(
        serve_http, node, Address("127.0.0.1", 0), leave=lambda: None, compatibility_apis=load(COMPATIBILITY_APIS)
    )
    bound: Address = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        yield client


def all_of(node: FakeNode) -> Any:
    """Everything that can have changed."""
    known = [node.lookup(name, healthy=False) for name in node.services()]
    told = json.dumps([node.index(), node.draining, len(node.beats), sorted(node.rules)])
    return told, known, dict(node.checked), attrs.asdict(node.info())


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize(("api", "method", "path", "is_form"), READING, ids=[each[2] for each in READING])
async def test_a_malformed_body_gets_the_apis_own_no_and_changes_nothing(
    node: FakeNode,
    client: httpx.AsyncClient,
    api: str,
    method: str,
    path: str,
    is_form: Callable[[httpx.Response], bool],
    body: bytes,
) -> None:
    before = all_of(node)
    answer = await client.request(method, path, content=body)
    assert answer.status_code == 400, (api, answer.text)
    assert is_form(answer), (api, answer.text)
    assert all_of(node) == before


@pytest.mark.parametrize(("api", "target", "is_form"), QUERIES, ids=[each[1] for each in QUERIES])
async def test_so_does_a_malformed_query(
    node: FakeNode, client: httpx.AsyncClient, api: str, target: str, is_form: Callable[[httpx.Response], bool]
) -> None:
    before = all_of(node)
    answer = await client.get(target)
    assert 400 <= answer.status_code < 500, (api, answer.text)
    assert is_form(answer), (api, answer.text)
    assert all_of(node) == before


def test_no_compatibility_api_is_forgotten_here() -> None:
    assert {each[0] for each in READING} | {each[0] for each in QUERIES} == set(COMPATIBILITY_APIS)
