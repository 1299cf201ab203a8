"""Fixtures of HTTP tests: a fake node, an HTTP listener for it on loopback, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio

from gossipreg.frontends.http import serve_http
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode


@pytest.fixture
def fake() -> FakeNode:
    return FakeNode()


@pytest.fixture
def left() -> list[str]:
    """Filled when a client asks the node to leave."""
    return []


@pytest.fixture
async def address(fake: FakeNode, left: list[str], nursery: trio.Nursery) -> Address:
    serve = partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: left.append("leave"))
    bound: Address = await nursery.start(serve)
    return bound


@pytest.fixture
async def client(address: Address) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as client:
        yield client
