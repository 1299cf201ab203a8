"""Instances without a port: seen where something is looked up, and left out where something is called."""

from __future__ import annotations

from functools import partial
from random import Random

import dns.asyncquery
import dns.message
import httpx
import pytest
import trio

from gossipreg import Address, NoInstance, open_node
from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.embed.chooser import Chooser
from gossipreg.frontends.dns import serve_dns
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.proxy.balancer import Balancer
from gossipreg.frontends.render.template_data import TemplateData
from gossipreg.frontends.serving import settling
from gossipreg.frontends.serving.compatibility_api import load
from tests.frontends.render.cluster import FakeCluster
from tests.frontends.test_policies_are_obeyed import Frontends
from tests.runtime.nodes import config


async def test_it_is_shown_by_lookups_and_called_by_nothing(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.0)
    async with open_node(config("one")) as node:
        await node.register("orders", port=0, id="worker", host="127.0.0.1", weight=7)
        with pytest.raises(NoInstance, match="no healthy instance of 'orders' has a port to call it at"):
            node.pick("orders")
        await node.register("orders", port=8001, id="orders-1", host="127.0.0.1")
        apis = load(COMPATIBILITY_APIS)
        serve = partial(serve_http, node, Address("127.0.0.1", 0), leave=lambda: None, compatibility_apis=apis)
        http = await nursery.start(serve)
        at = await nursery.start(partial(serve_dns, node, Address("127.0.0.1", 0), domains=["gossipreg"]))
        async with httpx.AsyncClient(base_url=f"http://{http}", trust_env=False) as client:
            frontends = Frontends(node, at, client)
            for shows in (frontends.lookup, frontends.http, frontends.consul):
                assert await shows() == {0: 7, 8001: 1}, shows
            for calls in (frontends.http_sd, frontends.srv, frontends.traefik, frontends.envoy):
                assert await calls() == {8001: 1}, calls
        assert {node.pick("orders").id for _ in range(50)} == {"orders-1"}
        assert {node.pick("orders", zone="").id for _ in range(50)} == {"orders-1"}
        balancer = Balancer(Random(1))
        balancer.replace(node.lookup("orders"))
        assert [backend.instance.id for backend in balancer.backends.values()] == ["orders-1"]
        for strategy in ("random", "round-robin", "least-loaded"):
            chooser = Chooser(node, strategy=strategy)
            assert {chooser.choose("orders").id for _ in range(20)} == {"orders-1"}
        assert Chooser(node).choose("orders", key="x").id == "orders-1"
        nursery.cancel_scope.cancel()


async def test_its_address_is_still_found_by_name(nursery: trio.Nursery) -> None:
    async with open_node(config("one")) as node:
        await node.register("worker", port=0, host="127.0.0.9")
        at = await nursery.start(partial(serve_dns, node, Address("127.0.0.1", 0), domains=["gossipreg"]))

        async def records(type_: str) -> list[str]:
            asked = dns.message.make_query("worker.service.gossipreg", type_)
            answer = await dns.asyncquery.udp(asked, at.host, timeout=60, port=at.port)
            return [record.to_text() for each in answer.answer for record in each]

        assert await records("A") == ["127.0.0.9"]
        assert await records("SRV") == []
        nursery.cancel_scope.cancel()


def test_templates_list_it_only_when_they_ask_for_all() -> None:
    cluster = FakeCluster()
    cluster.add("worker", port=0)
    cluster.add("web", port=80)
    given = TemplateData(cluster.ask)
    assert [each.id for each in given.instances("orders")] == ["web"]
    assert [each.id for each in given.instances("orders", all=True)] == ["web", "worker"]
