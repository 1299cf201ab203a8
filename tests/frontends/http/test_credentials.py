"""Credentials are handed out over HTTP for a token of that scope only."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.openapi import OPERATIONS
from gossipreg.frontends.serving.access import Access
from gossipreg.model import Address, Instance
from tests.frontends.fake_node import FakeNode

LOGIN = {"user": "app", "password": "correct horse"}

TOKENS = """
[[tokens]]
name = "app"
token = "the-token-of-the-app"
scopes = ["credentials"]

[[tokens]]
name = "all-but"
token = "all-but-credentials"
scopes = ["read", "write", "operator"]
"""


@pytest.fixture
async def app(fake: FakeNode, nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may read credentials, of a node that offers an instance with some."""
    file = tmp_path / "tokens.toml"
    file.write_text(TOKENS)
    file.chmod(0o600)
    serve = partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, access=Access.from_file(file))
    bound = await nursery.start(serve)
    await fake.register("pg", port=5432, id="pg-1", credentials=LOGIN)
    headers = {"Authorization": "Bearer the-token-of-the-app"}
    async with httpx.AsyncClient(base_url=f"http://{bound}/api/v1", headers=headers, trust_env=False) as client:
        yield client


async def test_a_caller_with_the_token_is_told_and_told_not_to_keep_it(app: httpx.AsyncClient) -> None:
    answer = await app.get("/credentials/pg-1?service=pg")
    assert answer.status_code == 200
    assert answer.json() == {"id": "pg-1", "service": "pg", "owner": "alpha", "credentials": LOGIN}
    assert answer.headers["cache-control"] == "no-store"


async def test_a_reading_is_logged_with_whose_token_it_was_and_without_what_was_read(
    app: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await app.get("/credentials/pg-1?service=pg")
    assert "the credentials of pg-1 of pg were read with the token app" in caplog.text
    assert "horse" not in caplog.text


async def test_a_caller_with_another_token_or_none_is_not(app: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    answer = await app.get("/credentials/pg-1?service=pg", headers={"Authorization": "Bearer all-but-credentials"})
    assert answer.status_code == 403
    answer = await app.get("/credentials/pg-1?service=pg", headers={"Authorization": ""})
    assert answer.status_code == 401
    answer = await client.get("/api/v1/credentials/pg-1?service=pg")  # of a listener without tokens
    assert answer.status_code == 403


async def test_a_caller_without_the_token_is_not_told_whether_there_is_anything(client: httpx.AsyncClient) -> None:
    here, nowhere = [await client.get(f"/api/v1/credentials/{id}?service=pg") for id in ("pg-1", "pg-9")]
    assert (here.status_code, here.text) == (nowhere.status_code, nowhere.text)


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("pg-1", 400, "service: is missing: write ?service=NAME"),
        ("pg-1?service=mysql", 404, "'mysql' has no instance 'pg-1'"),
        ("pg-1?service=pg&owner=eve", 404, "'pg' has no instance 'pg-1' of the owner 'eve'"),
        ("plain?service=pg", 404, "instance 'plain' of 'pg' has no credentials"),
        ("twin?service=pg", 409, "'twin' is the id of 2 instances: add &owner= with one of bob, cid"),
        ("twin?service=pg&owner=cid", 409, "sealed with a key which is not here"),
    ],
)
async def test_what_there_is_not_is_said_in_a_sentence(
    app: httpx.AsyncClient, fake: FakeNode, path: str, status: int, sentence: str
) -> None:
    await fake.register("pg", port=1, id="plain")
    twin = Instance(id="twin", service="pg", host="10.0.0.1", port=1, owner="bob", sealed=b"x")
    fake.hold(twin)
    fake.hold(attrs.evolve(twin, owner="cid"))
    answer = await app.get(f"/credentials/{path}")
    assert (answer.status_code, answer.json()["error"]) == (status, sentence)
    assert status in OPERATIONS["GET", "/api/v1/credentials/ID"].errors


async def test_the_owner_tells_instances_of_one_id_apart(app: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.hold(Instance(id="pg-1", service="pg", host="10.0.0.1", port=1, owner="bob", sealed=b"x"))
    assert (await app.get("/credentials/pg-1?service=pg")).status_code == 409
    assert (await app.get("/credentials/pg-1?service=pg&owner=alpha")).json()["credentials"] == LOGIN


async def test_a_registration_with_credentials_says_that_it_has_some_and_not_which(client: httpx.AsyncClient) -> None:
    body = {"service": "pg", "port": 5432, "credentials": LOGIN}
    answer = await client.put("/api/v1/instances", json=body)
    assert (answer.status_code, answer.json()["sealed"]) == (201, True)
    assert "horse" not in answer.text


@pytest.mark.parametrize(
    "wrong", ["hunter2", ["hunter2"], {"password": ["hunter2"]}, {"password": {"hunter2": ""}}, None]
)
async def test_what_are_no_credentials_is_refused_without_being_quoted(
    client: httpx.AsyncClient, wrong: object
) -> None:
    answer = await client.put("/api/v1/instances", json={"service": "pg", "port": 5432, "credentials": wrong})
    assert answer.status_code == 400
    assert answer.json()["error"] == "credentials: it is not an object of strings"


async def test_the_next_term_is_above_all_that_the_node_knows(client: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.hold(Instance(id="pg-9", service="pg", host="10.0.0.1", port=1, owner="bob", role="primary", term=6))
    body = {"service": "pg", "port": 5432, "role": "primary", "term": "next"}
    assert (await client.put("/api/v1/instances", json=body)).json()["term"] == 7
    refused = await client.put("/api/v1/instances", json=body | {"term": "newest"})
    assert refused.json()["error"] == 'term: "newest" is neither a whole number nor "next"'
