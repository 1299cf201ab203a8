"""Terms over HTTP: listed, given, reset; and writes that answer with what lookups show."""

from __future__ import annotations

import httpx
import pytest
import trio

from gossipreg import Instance
from tests.frontends.fake_node import FakeNode

OLD = Instance(id="pg-9", service="pg", host="10.0.0.1", port=1, owner="bob", role="primary", term=6)


async def test_a_term_is_listed_with_its_primary_and_without_once_that_is_gone(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.hold(OLD)
    [role] = (await client.get("/api/v1/roles")).json()["roles"]
    assert (role["service"], role["claimed"], role["seen"], role["primary"]["id"]) == ("pg", 6, 6, "pg-9")
    fake.drop(OLD)
    [role] = (await client.get("/api/v1/roles")).json()["roles"]
    assert (role["claimed"], role["primary"]) == (6, None)
    body = {"service": "pg", "port": 5432, "role": "primary", "term": "next"}
    assert (await client.put("/api/v1/instances", json=body)).json()["term"] == 7


async def test_a_reset_names_its_caller_and_what_was_never_stated_cannot_be_reset(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.hold(OLD)
    vain = await client.delete("/api/v1/roles/pg")
    assert vain.json()["note"] == "the term of pg is 6 still, for an instance states it: deregister that first"
    fake.drop(OLD)
    answer = await client.delete("/api/v1/roles/pg")
    assert (answer.status_code, answer.json()["seen"], answer.json()["reset_by"]) == (200, 0, "alpha")
    assert "note" not in answer.json()
    unknown = await client.delete("/api/v1/roles/orders")
    assert (unknown.status_code, "'orders'" in unknown.json()["error"]) == (404, True)


async def test_an_agent_that_is_about_to_join_gives_the_next_term_once_it_has(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.joined = False
    body = {"service": "pg", "id": "pg-1", "port": 5432, "role": "primary", "term": "next"}
    answers = []

    async def register() -> None:
        answers.append(await client.put("/api/v1/instances", json=body))

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(register)
            while not fake.waiting:  # noqa: ASYNC110 - nothing tells that a reader waits
                await trio.sleep(0.001)
            fake.joined = True
            fake.hold(OLD)
    assert answers[0].json()["term"] == 7


async def test_one_that_reaches_no_node_gives_none(
    client: httpx.AsyncClient, fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gossipreg.frontends.serving.limits.JOIN_SECONDS", 0.01)
    fake.joined = False
    body = {"service": "pg", "port": 5432, "role": "primary", "term": "next"}
    answer = await client.put("/api/v1/instances", json=body)
    assert (answer.status_code, "has reached no member yet" in answer.json()["error"]) == (503, True)


async def test_a_write_answers_with_the_note(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.notes["o-1"] = "its weight is 5, not 1, by policy weight:orders:o-1"
    body = {"service": "orders", "id": "o-1", "port": 80}
    for answer in (
        await client.put("/api/v1/instances", json=body),
        await client.put("/api/v1/maintenance/o-1"),
        await client.delete("/api/v1/maintenance/o-1"),
    ):
        assert answer.json()["note"] == fake.notes["o-1"]
    assert "note" not in (await client.get("/api/v1/services/orders")).json()["instances"][0]
