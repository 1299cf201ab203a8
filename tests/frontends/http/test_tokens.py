"""The tokens of the cluster over HTTP: created, accepted, listed and revoked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Address, Instance
from gossipreg.tokens import ClusterToken
from tests.frontends.fake_node import FakeNode
from tests.hidden import hidden

ADMIN, CI = "the-administrators-token", "the-pipelines-token"


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


FILE = f"""
[[tokens]]
name = "admin"
token = "{ADMIN}"
scopes = ["operator", "read", "write:orders", "write:web-*", "checks"]
"""


@pytest.fixture
def access(tmp_path: Path) -> Access:
    file = tmp_path / "tokens.toml"
    hidden(file, FILE)
    return Access.from_file(file)


@pytest.fixture
async def http(access: Access, fake: FakeNode, nursery: trio.Nursery) -> AsyncIterator[httpx.AsyncClient]:
    serve = partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None, access=access)
    address = await nursery.start(serve)
    async with httpx.AsyncClient(base_url=f"http://{address}", headers={"Authorization": f"Bearer {ADMIN}"}) as client:
        yield client


async def create(http: httpx.AsyncClient, **more: Any) -> httpx.Response:
    body = {"name": "ci", "token_sha256": digest(CI), "scopes": ["write:orders"]} | more
    return await http.put("/api/v1/tokens", json={key: value for key, value in body.items() if value is not None})


def as_ci() -> dict[str, str]:
    return {"Authorization": f"Bearer {CI}"}


async def test_a_token_is_accepted_from_its_creation_until_it_is_revoked(http: httpx.AsyncClient) -> None:
    body = {"service": "orders", "port": 1}
    assert (await http.put("/api/v1/instances", json=body, headers=as_ci())).status_code == 401
    created = await create(http)
    assert created.status_code == 201
    assert created.json() == {
        "name": "ci",
        "scopes": ["write:orders"],
        "from": "cluster",
        "expires": None,
        "accepted": True,
        "writer": "alpha",
        "at": 1.0,
    }
    assert (await http.put("/api/v1/instances", json=body, headers=as_ci())).status_code == 201
    assert (await http.put("/api/v1/instances", json=body | {"service": "pay"}, headers=as_ci())).status_code == 403
    assert (await http.get("/api/v1/token", headers=as_ci())).json() == {
        "required": True,
        "name": "ci",
        "scopes": ["write:orders"],
    }
    listed = await http.get("/api/v1/tokens")
    assert [(each["name"], each["from"], each["scopes"]) for each in listed.json()["tokens"]] == [
        ("ci", "cluster", ["write:orders"]),
        ("admin", "file", ["checks", "operator", "read", "write:orders", "write:web-*"]),
    ]
    assert digest(CI) not in listed.text
    assert (await http.delete("/api/v1/tokens/ci")).status_code == 204
    assert (await http.put("/api/v1/instances", json=body, headers=as_ci())).status_code == 401
    again = await http.delete("/api/v1/tokens/ci")
    assert (again.status_code, again.json()["code"]) == (404, "unknown_token")


async def test_an_expired_token_is_not_accepted_and_is_listed_as_such(http: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.cluster_tokens["ci"] = ClusterToken("ci", digest(CI), ("read",), expires=1.0)
    assert (await http.get("/api/v1/services", headers=as_ci())).status_code == 401
    listed = (await http.get("/api/v1/tokens")).json()["tokens"]
    assert [(each["name"], each["accepted"]) for each in listed] == [("ci", False), ("admin", True)]


async def test_of_the_clusters_tokens_only_the_scopes_count_that_the_agent_accepts(
    http: httpx.AsyncClient, fake: FakeNode, access: Access
) -> None:
    every = tuple(map(str, Scope))
    fake.cluster_tokens["ci"] = ClusterToken("ci", digest(CI), (*every, "audit"))
    assert access.grants(CI) == ("operator", "policy", "read", "write")
    fake.cluster_tokens["ci"] = ClusterToken("ci", digest(CI), ("credentials", "checks", "audit"))
    assert (await http.get("/api/v1/services", headers=as_ci())).status_code == 401
    assert access.grants(CI) == ()


@pytest.mark.parametrize(
    ("more", "status", "sentence"),
    [
        ({"scopes": ["policy"]}, 403, "scopes: your token is not for policy, so it cannot give that away"),
        ({"scopes": ["write"]}, 403, "scopes: your token is not for write, so it cannot give that away"),
        ({"scopes": ["write:pay"]}, 403, "scopes: your token is not for write:pay, so it cannot give that away"),
        (
            {"scopes": ["checks"]},
            400,
            "scopes: checks is not among this agent's cluster_token_scopes: op",
        ),
        (
            {"scopes": ["reed"]},
            400,
            "scopes: 'reed' is none of read, write, policy, checks, credentials, operator, federate",
        ),
        ({"scopes": []}, 400, "scopes: list 1 to 16"),
        ({"scopes": "read"}, 400, "scopes: a list is expected"),
        ({"token_sha256": "00"}, 400, "token_sha256: it is not a SHA-256 in 64 hexadecimal digits"),
        ({"token_sha256": None}, 400, "token_sha256: it is not a SHA-256 in 64 hexadecimal digits"),
        ({"name": "two words"}, 400, "name: 'two words' is not a token's name"),
        ({"name": None}, 400, "name: '' is not a token's name"),
        ({"name": "admin"}, 409, "name: the tokens file of this agent has a token 'admin': use another name"),
        ({"ttl": "soon"}, 400, "ttl: a time of up to ten years is expected"),
        ({"ttl": 7}, 400, "ttl: a time of up to ten years is expected"),
        ({"ttl": "0s"}, 400, "ttl: a time of up to ten years is expected"),
        ({"token": CI}, 400, "'token': there is no such field"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_token_is_named(
    http: httpx.AsyncClient, fake: FakeNode, more: dict[str, Any], status: int, sentence: str
) -> None:
    answer = await create(http, **more)
    assert (answer.status_code, answer.json()["error"][: len(sentence)]) == (status, sentence)
    assert fake.cluster_tokens == {}


async def test_a_token_covers_what_a_pattern_of_its_creators_covers(http: httpx.AsyncClient, fake: FakeNode) -> None:
    assert (await create(http, scopes=["write:web-1", "read:any"], ttl="1h")).status_code == 201
    assert (fake.cluster_tokens["ci"].expires or 0) > 1_700_000_000


async def test_no_token_outlives_the_one_that_created_it(http: httpx.AsyncClient, fake: FakeNode) -> None:
    soon = time.time() + 60
    fake.cluster_tokens["short"] = ClusterToken("short", digest("a-token-for-a-minute"), ("operator", "read"), soon)
    http.headers["Authorization"] = "Bearer a-token-for-a-minute"
    for more in ({}, {"ttl": "2m"}, {"name": "short", "token_sha256": digest("a-token-for-a-minute")}):
        refused = await create(http, scopes=["read"], **more)
        assert (refused.status_code, refused.json()["field"]) == (403, "ttl")
    assert (await create(http, scopes=["read"], ttl="30s")).status_code == 201


async def test_a_digest_has_one_name(http: httpx.AsyncClient, fake: FakeNode) -> None:
    assert (await create(http)).status_code == 201
    for taken in (CI, ADMIN):
        again = await create(http, name="other", token_sha256=digest(taken))
        assert (again.status_code, again.json()["error"].partition(":")[0]) == (409, "token_sha256")
    assert (await create(http)).status_code == 201  # the same name: it is replaced


async def test_a_token_of_the_cluster_with_the_name_of_one_of_the_file_is_not_accepted(
    http: httpx.AsyncClient, fake: FakeNode
) -> None:
    fake.cluster_tokens["admin"] = ClusterToken("admin", digest(CI), ("read",))
    assert (await http.get("/api/v1/services", headers=as_ci())).status_code == 401


async def test_what_is_waited_for_or_goes_on_ends_with_its_token(http: httpx.AsyncClient, fake: FakeNode) -> None:
    fake.cluster_tokens["ci"] = ClusterToken("ci", digest(CI), ("read",))
    index = (await http.get("/api/v1/services", headers=as_ci())).headers["x-gossipreg-index"]
    answers: list[int] = []

    async def wait() -> None:
        path = f"/api/v1/services?index={index}&wait=60s"
        answers.append((await http.get(path, headers=as_ci(), timeout=90)).status_code)

    async with trio.open_nursery() as waiting, http.stream("GET", "/api/v1/events", headers=as_ci()) as stream:
        parts = stream.aiter_text()
        assert "event: snapshot" in await anext(parts)
        waiting.start_soon(wait)
        await trio.testing.wait_all_tasks_blocked(0.05)
        del fake.cluster_tokens["ci"]
        fake.hold(Instance(id="secret", service="orders", host="10.0.0.1", port=80, owner="beta"))
        with trio.fail_after(60):
            rest = "".join([part async for part in parts])
    assert "secret" not in rest
    assert answers == [401]


async def test_a_token_of_the_file_is_not_revoked_here(http: httpx.AsyncClient) -> None:
    answer = await http.delete("/api/v1/tokens/admin")
    assert answer.status_code == 409
    assert "remove it there and send SIGHUP" in answer.json()["error"]


async def test_an_agent_that_asks_for_no_token_creates_and_accepts_none(
    client: httpx.AsyncClient, fake: FakeNode
) -> None:
    answer = await create(client)
    assert answer.status_code == 409
    assert "start it with --tokens-file FILE" in answer.json()["error"]
    fake.cluster_tokens["ci"] = ClusterToken("ci", digest(CI), ("read",))
    assert (await client.get("/api/v1/token", headers=as_ci())).json()["name"] is None
