"""Every frontend obeys policies: they are set at one node, and all frontends of another are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from functools import partial
from random import Random
from typing import Any

import attrs
import dns.asyncquery
import dns.message
import httpx
import pytest
import trio

from gossipreg import Address, Maintenance, Node, Split, open_node
from gossipreg.agent_config import COMPATIBILITY_APIS
from gossipreg.frontends.dns import serve_dns
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.proxy import Forward, Proxy, follow_node
from gossipreg.frontends.serving import settling
from gossipreg.frontends.serving.compatibility_api import load
from tests.drills.waiting import eventually
from tests.peers.stage import fetch, serve_name
from tests.runtime.nodes import config

#: The weight of each instance by its port: a share of 90 and one of 10, in the smallest whole numbers.
OBEYED = {8001: 9, 8002: 1}


@attrs.define
class Frontends:
    """A node with its frontends. Each answers with the weights of the instances that are to be called, by port."""

    node: Node
    dns: Address
    _client: httpx.AsyncClient

    async def lookup(self) -> Mapping[int, int]:
        return {each.port: each.weight for each in self.node.lookup("orders")}

    async def http(self) -> Mapping[int, int]:
        return {each["port"]: each["weight"] for each in (await self._get("/api/v1/services/orders"))["instances"]}

    async def http_sd(self) -> Mapping[int, int]:
        targets = await self._get("/api/v1/http_sd?service=orders&healthy")
        return {_port(each["targets"][0]): int(each["labels"]["__meta_gossipreg_weight"]) for each in targets}

    async def srv(self) -> Mapping[int, int]:
        asked = dns.message.make_query("orders.service.gossipreg", "SRV")
        answer = await dns.asyncquery.udp(asked, self.dns.host, timeout=60, port=self.dns.port)
        return {record.port: record.weight for each in answer.answer for record in each}

    async def consul(self) -> Mapping[int, int]:
        entries = await self._get("/v1/health/service/orders?passing")
        return {each["Service"]["Port"]: each["Service"]["Weights"]["Passing"] for each in entries}

    async def eureka(self) -> Mapping[int, int]:
        found = (await self._get("/eureka/apps/ORDERS"))["application"]["instance"]
        return {each["port"]["$"]: int(each["metadata"]["weight"]) for each in found if each["status"] == "UP"}

    async def traefik(self) -> Mapping[int, int]:
        services = (await self._get("/traefik/v1/config"))["http"]["services"]
        return {_port(each["url"]): each["weight"] for each in services["orders"]["loadBalancer"]["servers"]}

    async def envoy(self) -> Mapping[int, int]:
        body = {"node": {"id": "e"}, "resource_names": ["orders"]}
        answer = await self._client.post("/v3/discovery:endpoints", json=body)
        [resource] = answer.raise_for_status().json()["resources"]
        return {
            each["endpoint"]["address"]["socket_address"]["port_value"]: each["load_balancing_weight"]
            for zone in resource["endpoints"]
            for each in zone["lb_endpoints"]
            if each["health_status"] == "HEALTHY"
        }

    async def _get(self, path: str) -> Any:
        answer = await self._client.get(path, headers={"Accept": "application/json"})
        return answer.raise_for_status().json()


def _port(address: str) -> int:
    return Address.parse(address.removeprefix("http://")).port


@pytest.fixture
async def frontends(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Frontends]:
    """The frontends of a node that learns of three instances, a split and a maintenance from another."""
    monkeypatch.setattr(
        settling, "SETTLE_SECONDS", 0.0
    )  # or compatibility APIs would keep silent about what may change
    async with open_node(config("one")) as one, open_node(config("other", one)) as node:
        for number, tag in enumerate(("v1", "v2", "v1"), 1):
            await one.register("orders", port=8000 + number, id=f"orders-{number}", tags=[tag])
        await one.set_policy(Split("orders", {"v1": 90, "v2": 10}))
        await one.set_policy(Maintenance("orders", "orders-3", "new disk"))
        serve = partial(
            serve_http, node, Address("127.0.0.1", 0), leave=lambda: None, compatibility_apis=load(COMPATIBILITY_APIS)
        )
        http = await nursery.start(serve)
        at = await nursery.start(partial(serve_dns, node, Address("127.0.0.1", 0), domains=["gossipreg"]))
        async with httpx.AsyncClient(base_url=f"http://{http}", trust_env=False) as client:
            frontends = Frontends(node, at, client)

            async def check_it_is_known() -> None:
                assert await frontends.lookup() == OBEYED

            await eventually(check_it_is_known)
            yield frontends
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("frontend", ["lookup", "http", "http_sd", "srv", "consul", "eureka", "traefik", "envoy"])
async def test_a_split_and_a_maintenance_set_elsewhere_are_obeyed_in_every_frontend(
    frontends: Frontends, frontend: str
) -> None:
    assert await getattr(frontends, frontend)() == OBEYED


def is_fair(counted: Counter[str]) -> bool:
    """Whether these are 90 to 10: one degree of freedom, so a fair draw is called unfair once in a million runs."""
    due = {"old": 0.9 * counted.total(), "new": 0.1 * counted.total()}
    return counted.keys() == due.keys() and sum((counted[each] - due[each]) ** 2 / due[each] for each in due) < 24


async def test_picks_and_connections_through_the_balancer_are_shared_out_so(nursery: trio.Nursery) -> None:
    async with open_node(config("one")) as one, open_node(config("other", one)) as other:
        for name, tag in (("old", "v1"), ("new", "v2")):
            await one.register("orders", port=await nursery.start(serve_name, name), id=name, tags=[tag])
        proxy = Proxy(Forward(listen="127.0.0.1:0", service="orders"), rng=Random(1))
        await nursery.start(follow_node, other, "orders", proxy.apply)
        address = await nursery.start(proxy.serve)
        await one.set_policy(Split("orders", {"v1": 90, "v2": 10}))

        async def check_it_is_known() -> None:
            assert {each.id: each.weight for each in other.lookup("orders")} == {"old": 9, "new": 1}

        await eventually(check_it_is_known)
        assert is_fair(Counter(other.pick("orders").id for _ in range(10_000)))
        assert is_fair(Counter([await fetch(str(address), "/") for _ in range(400)]))
        nursery.cancel_scope.cancel()
