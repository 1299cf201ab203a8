"""Many registrations in one request: all of them, or none and the place of the one that cannot be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio

from gossipreg import Address, Node, open_node
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.request import NDJSON
from tests.runtime.nodes import config

MANY = [{"service": "orders", "id": f"o-{number}", "port": 80} for number in range(20)]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    async with open_node(config("ann")) as node:
        yield node


@pytest.fixture
async def caller(node: Node, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    bound = await nursery.start(partial(serve_http, node, Address("127.0.0.1", 0), leave=lambda: None))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
        yield client


async def test_a_list_is_registered_in_one_change(node: Node, caller: httpx.AsyncClient) -> None:
    index = node.index("orders")
    said = await caller.put("/api/v1/instances", json=MANY)
    assert [each["id"] for each in said.json()["instances"]] == [each["id"] for each in MANY]
    assert (said.status_code, len(node.lookup("orders")), node.index("orders")) == (200, 20, index + 1)
    assert (await caller.put("/api/v1/instances", json=[])).json() == {"instances": []}


@pytest.mark.parametrize("media", [NDJSON, f"{NDJSON.upper()}; charset=utf-8"])
async def test_so_are_lines_of_json(node: Node, caller: httpx.AsyncClient, media: str) -> None:
    body, headers = "\n\n".join(map(json.dumps, MANY)), {"Content-Type": media}
    said = await caller.put("/api/v1/instances", content=body, headers=headers)
    assert (said.status_code, len(said.json()["instances"]), len(node.lookup("orders"))) == (200, 20, 20)
    said = await caller.put("/api/v1/instances", content=f"{body}\n{{", headers=headers)
    assert said.json()["error"].startswith("line 40 of the body is not JSON that can be read: ")


@pytest.mark.parametrize(
    ("bad", "status", "sentence"),
    [
        ({"service": "orders"}, 400, "[20].port: is missing"),
        ({"service": "orders", "port": 80, "id": "o-3"}, 400, "[20].id: 'o-3' is that of [3] too"),
        ({"service": "orders", "port": 80, "weight": -1}, 400, "[20].weight: -1 is not a whole number"),
        ({"service": "orders", "port": 80, "term": "next"}, 400, "[20].term: is a number in a list"),
        ({"service": "orders", "port": 80, "credentials": {"user": "a"}}, 409, "[20]: credentials: this node has no"),
        ({"service": "orders", "port": 80, "checks": [{"command": ["a"]}]}, 403, "[20].checks: commands are not"),
        ({"service": "orders", "port": 80, "checks": [{"tcp": "192.0.2.1:1"}]}, 400, "[20].checks[0].tcp: "),
        (7, 400, "[20]: 7 is not an object"),
    ],
)
async def test_none_is_registered_if_one_cannot_be(
    node: Node, caller: httpx.AsyncClient, bad: object, status: int, sentence: str
) -> None:
    said = await caller.put("/api/v1/instances", json=[*MANY, bad])
    assert (said.status_code, said.json()["error"][: len(sentence)]) == (status, sentence)
    assert node.services() == {}


async def test_a_list_that_is_no_json_is_refused(caller: httpx.AsyncClient) -> None:
    said = await caller.put("/api/v1/instances", content=b"[{]")
    assert (said.status_code, said.json()["error"].partition(": ")[0]) == (400, "the body is not JSON that can be read")


LINES = {"Content-Type": NDJSON}
LARGE = "\n".join(map(json.dumps, MANY)) + "\n" * (limits.BODY_BYTES_MAX + 1)


async def test_lines_may_be_longer_than_any_other_body(
    node: Node, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BULK_BODIES_MAX", 1)
    for _ in range(2):  # the place of the first is free when it is answered
        said = await caller.put("/api/v1/instances", content=LARGE, headers=LINES)
        assert (said.status_code, len(node.lookup("orders"))) == (200, 20)
    assert (await caller.put("/api/v1/instances", content=LARGE)).status_code == 413
    said = await caller.put("/api/v1/instances", content="\n" * (limits.BULK_BYTES_MAX + 1), headers=LINES)
    assert (said.status_code, said.json()["code"]) == (413, "body_too_large")


async def test_large_bodies_are_held_a_few_at_once(
    node: Node, caller: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BULK_BODIES_MAX", 0)
    said = await caller.put("/api/v1/instances", content=LARGE, headers=LINES)
    assert (said.status_code, said.headers["retry-after"], node.services()) == (503, "1", {})
    small = LARGE.rstrip()
    assert (await caller.put("/api/v1/instances", content=small, headers=LINES)).status_code == 200
