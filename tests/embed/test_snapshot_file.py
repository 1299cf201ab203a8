"""Embedded nodes that start in an outage answer from their snapshot as trio's do; so does an agent over HTTP."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from pathlib import Path

import attrs
import httpx
import pytest
import trio

import gossipreg.embed.asyncio
from gossipreg import Config, Instance, NodeInfo, open_node
from gossipreg.embed import threads
from gossipreg.frontends.http import serve_http
from gossipreg.model import Address
from gossipreg.runtime.snapshot_file import _write
from tests.embed.seeing import config

ORDERS = Instance(id="o1", service="orders", host="10.0.0.1", port=80, owner="gus")


@pytest.fixture
def cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Config:
    """A node that can reach no member, and has a snapshot."""
    caplog.set_level(logging.ERROR)
    _write(tmp_path / "last", "default", "gus", {"orders": (ORDERS,)})
    return config("ann", snapshot=tmp_path / "last")


def test_a_node_for_threads_has_it(cut_off: Config) -> None:
    with threads.open_node(cut_off) as node:
        assert node.lookup("orders") == (attrs.evolve(ORDERS, stale=True),)
        assert node.pick("orders").stale
        assert node.info().serving_last_known
        assert [each.stale for each in node.watch("orders").get(10).instances] == [True]


def test_a_node_for_asyncio_has_it(cut_off: Config) -> None:
    async def scene() -> tuple[tuple[Instance, ...], NodeInfo]:
        async with gossipreg.embed.asyncio.open_node(cut_off) as node:
            return node.lookup("orders"), await node.info()

    found, info = asyncio.run(scene())
    assert found == (attrs.evolve(ORDERS, stale=True),)
    assert info.serving_last_known


async def test_a_lookup_over_http_has_it_and_the_metrics_tell(cut_off: Config, nursery: trio.Nursery) -> None:
    async with open_node(cut_off) as node:
        bound = await nursery.start(partial(serve_http, node, Address("127.0.0.1", 0), leave=lambda: None))
        async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as client:
            [found] = (await client.get("/api/v1/services/orders")).json()["instances"]
            assert (found["id"], found["stale"], found["health"]) == ("o1", True, "passing")
            assert (await client.get("/api/v1/node")).json()["serving_last_known"] is True
            metrics = (await client.get("/metrics")).text
            assert "gossipreg_serving_last_known 1.0" in metrics
            assert 'gossipreg_events_total{event="panicked_lookups"} 0.0' in metrics
        nursery.cancel_scope.cancel()
