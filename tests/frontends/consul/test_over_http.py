"""The API behind a real listener, on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import attrs
import httpx
import pytest
import trio

from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.model import Address, Instance
from tests.frontends.consul.test_agent import TOKENS
from tests.frontends.fake_node import FakeNode

WEB = Instance(id="web-1", service="web", host="10.0.0.1", port=80, owner="alpha")


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.hold(WEB)
    return node


@pytest.fixture
def access() -> Access:
    return Access()


@pytest.fixture
async def address(node: FakeNode, access: Access, nursery: trio.Nursery) -> Address:
    serve = partial(
        serve_http,
        node,
        Address("127.0.0.1", 0),
        leave=lambda: None,
        access=access,
        compatibility_apis=load(["consul"]),
    )
    bound: Address = await nursery.start(serve)
    return bound


@pytest.fixture
async def client(address: Address) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}/v1", trust_env=False) as client:
        yield client


async def test_a_body_is_read_whatever_its_type_and_yes_is_an_empty_answer(
    node: FakeNode, client: httpx.AsyncClient
) -> None:
    body = b'{"name": "db", "port": 5432}'
    for headers in ({}, {"content-type": "text/plain"}, {"content-type": "application/x-www-form-urlencoded"}):
        said = await client.put("/agent/service/register", content=body, headers=headers)
        assert (said.status_code, said.content, said.headers["content-length"]) == (200, b"", "0")
    assert node.own("db") is not None


async def test_the_same_blocking_query_can_be_sent_again_on_the_same_connection(
    node: FakeNode, address: Address, nursery: trio.Nursery
) -> None:
    async with await trio.open_tcp_stream(*address) as stream:

        async def read() -> bytes:
            data = b""
            while not data.endswith(b"]"):
                data += await stream.receive_some()
            return data

        head = f"GET /v1/health/service/web?%s HTTP/1.1\r\nHost: {address}\r\n\r\n"
        await stream.send_all((head % "index=0").encode())
        index = int((await read()).lower().partition(b"x-consul-index: ")[2].split(b"\r\n")[0])
        query = (head % f"index={index}&wait=10ms").encode()
        for _ in range(3):
            await stream.send_all(query)
            assert b"web-1" in await read()
        await stream.send_all((head % f"index={index}&wait=1m").encode())
        node.hold(attrs.evolve(WEB, tags=("new",)))
        with trio.fail_after(60):
            assert b'"new"' in await read()


async def test_a_page_in_a_browser_may_not_register(node: FakeNode, client: httpx.AsyncClient) -> None:
    said = await client.put("/agent/service/deregister/web-1", headers={"origin": "http://evil.example"})
    assert said.status_code == 403
    assert node.own("web-1") is not None


class TestWithTokens:
    @pytest.fixture
    def access(self, tmp_path: Path) -> Access:
        file = tmp_path / "tokens.toml"
        file.write_text(TOKENS)
        file.chmod(0o600)
        return Access.from_file(file)

    @pytest.mark.parametrize(
        ("headers", "query"),
        [
            ({"X-Consul-Token": "writer-writer-writer"}, ""),
            ({"Authorization": "Bearer writer-writer-writer"}, ""),
            ({}, "?token=writer-writer-writer"),
        ],
    )
    async def test_each_form_of_a_token_is_taken(
        self, client: httpx.AsyncClient, headers: dict[str, str], query: str
    ) -> None:
        said = await client.put(f"/agent/service/deregister/web-1{query}", headers=headers)
        assert said.status_code == 200
        assert (await client.get("/catalog/services")).status_code == 403
