"""Policies over HTTP: listed, set, removed, and refused with a sentence."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gossipreg import Instance, Maintenance, Split, WeightOverride
from tests.frontends.fake_node import FakeNode

AT = 1767225600.0


@pytest.mark.parametrize(
    ("body", "rule", "shown"),
    [
        (
            {"service": "orders", "split": {"v1": 90, "v2": 10}},
            Split("orders", {"v1": 90, "v2": 10}),
            {"key": "split:orders", "kind": "split", "by": "tag", "shares": {"v1": 90, "v2": 10}},
        ),
        (
            {"service": "orders", "split": {"north": 1}, "by": "zone"},
            Split("orders", {"north": 1}, by="zone"),
            {"key": "split:orders", "kind": "split", "by": "zone", "shares": {"north": 1}},
        ),
        (
            {"service": "orders", "instance": "o1", "weight": 5},
            WeightOverride("orders", "o1", 5),
            {"key": "weight:orders:o1", "kind": "weight", "instance": "o1", "owner": None, "weight": 5},
        ),
        (
            {"service": "orders", "instance": "o1", "owner": "beta", "weight": 5},
            WeightOverride("orders", "o1", 5, "beta"),
            {"key": "weight:orders@beta:o1", "kind": "weight", "instance": "o1", "owner": "beta", "weight": 5},
        ),
        (
            {"service": "orders", "instance": "o1", "maintenance": "new disk"},
            Maintenance("orders", "o1", "new disk"),
            {
                "key": "maintenance:orders:o1",
                "kind": "maintenance",
                "instance": "o1",
                "owner": None,
                "reason": "new disk",
            },
        ),
    ],
)
async def test_a_policy_is_set_shown_and_removed(
    client: httpx.AsyncClient, fake: FakeNode, body: Any, rule: Any, shown: Any
) -> None:
    whole = {**shown, "service": "orders", "writer": "alpha", "at": AT}
    answer = await client.put("/api/v1/policies", json=body)
    assert (answer.status_code, answer.json()) == (200, whole | {"hits": 0})
    assert fake.rules == {rule.key: rule}
    assert (await client.get("/api/v1/policies")).json()["policies"] == [whole]
    assert (await client.delete(f"/api/v1/policies/{rule.key}")).status_code == 204
    listed = (await client.get("/api/v1/policies")).json()
    assert listed == {"policies": [], "unreadable": [{"key": "canary:orders", "writer": "beta", "at": 5.0}]}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b"{}", "says nothing"),
        (b'{"service": "orders", "weight": 1, "maintenance": ""}', "weight and maintenance"),
        (b'{"service": "orders", "weight": 1, "by": "tag", "instance": "o1"}', "'by': a weight has no such field"),
        (b'{"service": "orders", "split": [1]}', "split: is not an object"),
        (b'{"service": "orders", "split": {"v1": "90"}}', "'90' is not a whole number"),
        (b'{"split": {"v1": 90}}', "service: '' is not"),
        (b'{"service": "orders", "weight": 1}', "instance: '' is not"),
        (b'{"service": "orders", "instance": "o1", "weight": 1, "owner": "no name"}', "owner: 'no name' is not"),
        (b'{"service": "orders", "instance": "o1", "weight": 1, "owner": []}', "owner: [] is not"),
        (b'{"service": "orders", "instance": "o1", "maintenance": "", "owner": false}', "owner: False is not"),
        (b'{"service": "orders", "split": {"v1": 90}, "owner": "beta"}', "'owner': a split has no such field"),
        (b'{"service": 7, "split": {"v1": 90}}', "service: 7 is not"),
    ],
)
async def test_what_cannot_be_set_is_answered_with_a_sentence(
    client: httpx.AsyncClient, fake: FakeNode, body: bytes, why: str
) -> None:
    answer = await client.put("/api/v1/policies", content=body)
    assert answer.status_code == 400
    assert why in answer.json()["error"]
    assert fake.rules == {}


async def test_the_answer_says_how_many_instances_a_policy_is_about(client: httpx.AsyncClient, fake: FakeNode) -> None:
    for owner in ("beta", "gamma"):
        fake.hold(Instance(id="o1", service="orders", host="10.0.0.1", port=1, owner=owner))
    asked = {"service": "orders", "instance": "o1", "weight": 5}
    assert (await client.put("/api/v1/policies", json=asked)).json()["hits"] == 2
    assert (await client.put("/api/v1/policies", json=asked | {"owner": "beta"})).json()["hits"] == 1
    assert (await client.put("/api/v1/policies", json=asked | {"owner": "alpha"})).json()["hits"] == 0
    assert (await client.put("/api/v1/policies", json={"service": "orders", "split": {"v1": 1}})).json()["hits"] == 2


async def test_a_policy_that_is_not_in_force_cannot_be_removed(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/v1/policies/split:orders")
    assert answer.status_code == 404
    assert "split:orders" in answer.json()["error"]
