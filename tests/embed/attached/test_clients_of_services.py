"""Clients that call services by name use an attached node as they use a member."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
import trio

import gossipreg
from gossipreg import InstanceSpec
from gossipreg.embed.aiohttp import ServiceMiddleware
from gossipreg.embed.asyncio import open_node as open_asyncio
from gossipreg.embed.chooser import Chooser
from gossipreg.embed.grpc import ServiceChannel
from gossipreg.embed.httpx import AsyncTransport, NoInstanceToCall, Transport
from gossipreg.embed.requests import ServiceAdapter
from gossipreg.embed.threads import open_node
from tests.embed.attached.agents import Agent, agent, socket_file
from tests.embed.naming import SERVICE, naming
from tests.embed.replying import replying
from tests.runtime.nodes import PATIENCE


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Agent]:
    """An agent whose service `orders` has one HTTP server."""
    with agent(socket_file(tmp_path)) as running, replying("one") as server:
        spec = InstanceSpec(service="orders", host="127.0.0.1", port=server.port)
        running.do(running.node.register_spec, spec)
        yield running


@pytest.mark.parametrize("strategy", ["random", "round-robin", "least-loaded"])
def test_a_chooser(host: Agent, strategy: str) -> None:
    with open_node(host.config()) as node:
        chooser = Chooser(node, strategy=strategy, panic=0.5)  # type: ignore[arg-type]
        with chooser.calling("orders") as chosen:
            assert (chosen,) == host.node.lookup("orders")
        assert chooser.choose("orders", key="customer") == chosen


def test_httpx_and_requests(host: Agent) -> None:
    with open_node(host.config()) as node:
        with httpx.Client(transport=Transport(node), trust_env=False) as client:
            assert client.get("http://orders/").text == "one"
            with pytest.raises(NoInstanceToCall):
                client.get("http://others/")
        with requests.Session() as session:
            session.trust_env = False
            session.mount("http://", ServiceAdapter(node))
            assert session.get("http://orders/", timeout=PATIENCE).text == "one"


def test_httpx_and_aiohttp_in_asyncio(host: Agent) -> None:
    async def main() -> None:
        async with open_asyncio(host.config()) as node:
            async with httpx.AsyncClient(transport=AsyncTransport(node), trust_env=False) as client:
                assert (await client.get("http://orders/")).text == "one"
            async with (
                aiohttp.ClientSession(middlewares=(ServiceMiddleware(node),)) as session,
                session.get("http://orders/") as response,
            ):
                assert await response.text() == "one"

    asyncio.run(main())


def test_httpx_in_trio(host: Agent) -> None:
    async def main() -> None:
        async with (
            gossipreg.open_node(host.config()) as node,
            httpx.AsyncClient(transport=AsyncTransport(node), trust_env=False) as client,
        ):
            assert (await client.get("http://orders/")).text == "one"

    trio.run(main)


def test_grpc(host: Agent) -> None:
    with naming("one") as server, open_node(host.config()) as node:
        node.register("names", host="127.0.0.1", port=server.port)
        with ServiceChannel(node, "names") as channel:
            assert channel.unary_unary(f"/{SERVICE}/One")(b"", timeout=PATIENCE, wait_for_ready=True) == b"one"
