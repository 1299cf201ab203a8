"""What tests of Eureka's API share: a fake node with the API before it, and a client."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import attrs
import httpx
import pytest
import trio

from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode


@attrs.frozen
class Client:
    """Asks as Eureka's clients do; JSON unless it is told otherwise."""

    http: httpx.AsyncClient
    root: str = "/eureka"

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> httpx.Response:
        return await self.http.request(
            method, f"{self.root}/{path}", content=body, headers={"accept": "application/json"} | headers
        )

    async def post(self, document: Any, app: str = "ORDERS") -> httpx.Response:
        return await self.ask("POST", f"apps/{app}", json.dumps(document).encode())

    async def shown(self, app: str = "ORDERS") -> dict[str, Any]:
        """The instances of an application by id; none if there is no such application."""
        answer = await self.ask("GET", f"apps/{app}")
        if answer.status_code == 404:
            return {}
        return {each["instanceId"]: each for each in answer.json()["application"]["instance"]}


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def fake() -> FakeNode:
    return FakeNode()


@pytest.fixture
def access() -> Access:
    return Access()


@pytest.fixture
async def client(fake: FakeNode, access: Access, nursery: trio.Nursery) -> AsyncIterator[Client]:
    serve = partial(serve_http, leave=lambda: None, access=access, compatibility_apis=load(["eureka"]))
    bound = await nursery.start(serve, fake, Address("127.0.0.1", 0))
    async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as http:
        yield Client(http)
