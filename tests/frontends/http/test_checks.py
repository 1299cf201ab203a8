"""Checks, heartbeats and maintenance over HTTP."""

from __future__ import annotations

import json

import httpx
import pytest

from gossipreg.check import Check
from gossipreg.model import Health
from tests.frontends.fake_node import FakeNode

ORDERS = {"id": "o", "service": "orders", "port": 80}


async def test_checks_go_to_the_node_as_they_were_meant(client: httpx.AsyncClient, fake: FakeNode) -> None:
    checks = [{"http": "http://127.0.0.1/health", "interval": "500ms"}, {"ttl": 5}]
    assert (await client.put("/api/v1/instances", json={**ORDERS, "checks": checks})).status_code == 201
    assert fake.checked == {"o": (Check(http="http://127.0.0.1/health", interval=0.5), Check(ttl=5))}


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        ({"tcp": "a:1", "timeout": "1 min"}, "checks[0].timeout: '1 min' is not a number of seconds from 0.05 to"),
        ({}, "checks[0].kind: exactly one of http, tcp, grpc, ttl, command says what is checked, and none is given"),
        ({"tcp": "a:1", "every": 1}, "checks[0].every: a check has no such field; it has command, deregister_after,"),
        ("tcp", "checks[0]: 'tcp' is not an object such as "),
        ({"tcp": "\ud800:1"}, "checks[0].tcp: '\\ud800:1' is not HOST:PORT"),
    ],
)
async def test_a_check_that_cannot_be_is_refused_by_its_place_and_field(
    check: object, sentence: str, client: httpx.AsyncClient, fake: FakeNode
) -> None:
    answer = await client.put("/api/v1/instances", content=json.dumps({**ORDERS, "checks": [check]}))
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(sentence)
    assert not fake.services()


@pytest.mark.parametrize(("allowed", "status"), [("off", 403), ("own", 403), ("api", 201)])
async def test_a_command_is_taken_only_if_the_agent_was_told_so(
    allowed: str, status: int, client: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.command_checks = allowed
    answer = await client.put("/api/v1/instances", json={**ORDERS, "checks": [{"command": ["/bin/true"]}]})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"].startswith("checks: commands are not taken over HTTP: start the agent with")


async def test_the_values_of_headers_are_not_shown(client: httpx.AsyncClient, fake: FakeNode) -> None:
    check = {"http": "http://127.0.0.1/", "headers": {"Authorization": "Bearer secret"}}
    await client.put("/api/v1/instances", json={**ORDERS, "checks": [check]})
    answer = await client.get("/api/v1/checks")
    assert answer.json()["checks"][0]["settings"] == {"http": "http://127.0.0.1/", "headers": ["Authorization"]}
    assert "secret" not in answer.text


async def test_a_heartbeat_needs_nothing_but_an_id(client: httpx.AsyncClient, fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="o", checks=[Check(ttl=5)])
    assert (await client.put("/api/v1/heartbeats/o")).status_code == 204
    assert (await client.put("/api/v1/heartbeats/o?check=ttl&health=critical&note=full")).status_code == 204
    assert fake.beats == [("o", None, Health.PASSING, ""), ("o", "ttl", Health.CRITICAL, "full")]


async def test_a_heartbeat_that_cannot_be_is_refused(client: httpx.AsyncClient, fake: FakeNode) -> None:
    assert (await client.put("/api/v1/heartbeats/missing")).status_code == 404
    answer = await client.put("/api/v1/heartbeats/o?health=fine")
    assert (answer.status_code, answer.json()["error"]) == (
        400,
        "health: 'fine' is neither passing, warning nor critical",
    )


async def test_the_checks_of_an_unknown_instance_are_not_found(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/checks")).json() == {"checks": []}
    assert (await client.get("/api/v1/checks/missing")).status_code == 404
    assert (await client.put("/api/v1/maintenance/missing")).status_code == 404


async def test_maintenance_needs_no_reason(client: httpx.AsyncClient, fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="o")
    out = (await client.put("/api/v1/maintenance/o")).json()
    assert (out["health"], out["reason"]) == ("maintenance", "")
    assert (await client.get("/api/v1/services/orders")).json()["instances"] == []
    assert (await client.delete("/api/v1/maintenance/o")).json()["health"] == "passing"
