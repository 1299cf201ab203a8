"""A prepared query is answered from the next region of the agent's list, in the words of Consul's clients."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.model import Health, Instance
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode

HERE = Instance(id="web-1", service="web", host="10.0.0.1", port=80, owner="alpha")


def there(id_: str, region: str) -> Instance:
    return Instance(id=id_, service="web", host="10.1.0.1", port=80, owner="beta", region=region)


@pytest.fixture
async def client(autojump_clock: Any) -> Client:
    node = FakeNode()
    node.hold_elsewhere("eu", "web", there("eu-1", "eu"))
    node.hold_elsewhere("asia", "web", there("asia-1", "asia"))
    return Client(node, failover=FailoverList(("eu", "asia")))


def told(found: Any) -> tuple[str, int, list[str]]:
    return found["Datacenter"], found["Failovers"], [each["Service"]["ID"] for each in found["Nodes"]]


async def test_a_query_is_answered_here_while_that_can_serve_and_else_in_the_next_region(client: Client) -> None:
    node = client.node
    assert isinstance(node, FakeNode)
    node.hold(HERE)
    assert told(await client.get("query/web/execute")) == ("default", 0, ["web-1"])
    node.hold(attrs.evolve(HERE, health=Health.CRITICAL))
    said = await client.ask("GET", "query/web/execute?limit=1")
    assert told(said.json) == ("eu", 1, ["eu-1"])
    assert said.json["Nodes"][0]["Node"]["Datacenter"] == "eu"
    assert said.headers["x-consul-knownleader"] == "true"
    node.hold_elsewhere("eu", "web")
    assert told(await client.get("query/web/execute")) == ("asia", 2, ["asia-1"])


async def test_a_service_that_only_another_region_has_is_a_query_too(client: Client) -> None:
    assert told(await client.get("query/web/execute")) == ("eu", 1, ["eu-1"])
    assert (await client.ask("GET", "query/nothing/execute")).status == 404
    alone = attrs.evolve(client, failover=FailoverList())
    assert (await alone.ask("GET", "query/web/execute")).status == 404


async def test_a_service_is_not_denied_while_another_region_may_have_it(client: Client) -> None:
    node = client.node
    assert isinstance(node, FakeNode)
    node.cut = True
    said = await client.ask("GET", "query/web/execute")
    assert (said.status, "not known whether" in said.text) == (503, True)
    node.hold(HERE)
    assert told(await client.get("query/web/execute")) == ("default", 0, ["web-1"])
