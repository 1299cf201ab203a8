"""Prepared queries by DNS: the instances that one means, with its own time to live."""

from __future__ import annotations

from collections import Counter
from typing import Any

import dns.message
import pytest
import trio
from trio.testing import MockClock

from gossipreg.counters import Count
from gossipreg.errors import NodeClosed, RegionUnavailable
from gossipreg.frontends.consul import query_execution
from gossipreg.frontends.consul.query_execution import QueryRunner
from gossipreg.frontends.dns import limits
from gossipreg.model import NODE_SERVICE, Health
from gossipreg.prepared_query import PreparedQuery
from gossipreg.regional import RegionalService
from tests.frontends.dns.client import DnsClient
from tests.frontends.dns.test_regions import code, there
from tests.frontends.fake_node import FakeNode

pytestmark = pytest.mark.usefixtures("autojump_clock")

ID = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"


@pytest.fixture
async def client(autojump_clock: MockClock) -> DnsClient:
    client = DnsClient(ttl=5, regions=("eu",))
    client.responder.zone.run_query = QueryRunner(client.node)
    return client


def define(client: DnsClient, name: str = "shop", **more: Any) -> None:
    query = PreparedQuery(ID, "orders", name, **more)
    query.check()
    client.node.rules[query.key] = query


def remove(client: DnsClient) -> None:
    client.node.rules.clear()


async def test_the_name_and_the_id_of_a_query_mean_its_instances_with_its_ttl(client: DnsClient) -> None:
    client.offer("10.0.0.1", tags=("v1",))
    client.offer("10.0.0.2", tags=("v2",))
    client.offer("10.0.0.3", tags=("v2",), health=Health.CRITICAL)
    assert code(client, "shop.query.consul") == "NXDOMAIN"
    define(client, tags=("v2",), ttl="1m30s")
    for name in ("shop.query.consul", f"{ID}.query.consul", "SHOP.query.gossipreg", "shop.query.default.consul"):
        answer = client.ask(name)
        assert [(each.ttl, str(each[0])) for each in answer.answer] == [(90, "10.0.0.2")], name
    assert code(client, "shop.service.consul") == "NXDOMAIN"
    define(client, tags=("v3",))
    assert code(client, "shop.query.consul") == "NOERROR"
    assert client.records("shop.query.consul") == []
    define(client)
    assert [each.ttl for each in client.ask("shop.query.consul").answer] == [5], "that of the agent"


async def test_a_query_takes_the_place_of_the_service_of_its_name_with_the_next_answer(
    client: DnsClient,
) -> None:
    client.offer("10.0.0.1", service="shop")
    client.offer("10.0.0.2")
    for _ in range(3):
        assert client.records("shop.query.consul") == ["10.0.0.1"]
    define(client)
    assert client.records("shop.query.consul") == ["10.0.0.2"]
    remove(client)
    assert client.records("shop.query.consul") == ["10.0.0.1"]


async def test_a_query_names_a_region_that_answers_where_this_one_cannot(client: DnsClient) -> None:
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", region="eu"))
    define(client, regions=("eu",), ttl="1h")
    answer = client.ask("shop.query.consul")
    assert [(each.ttl, str(each[0])) for each in answer.answer] == [(0, "10.1.0.1")], "no client is to keep it"
    client.node.cut = True
    assert code(client, "shop.query.consul") == "SERVFAIL"
    client.offer("10.0.0.1")
    assert client.records("shop.query.consul") == ["10.0.0.1"]


async def test_the_nearest_instances_alone_are_told(client: DnsClient) -> None:
    client.offer("10.0.0.1", owner="beta")
    client.offer("10.0.0.2")
    define(client, near="_agent")
    assert client.records("shop.query.consul") == ["10.0.0.2"]


async def test_no_ttl_is_longer_than_dns_allows(client: DnsClient) -> None:
    client.offer("10.0.0.1")
    define(client, ttl="9999999h")
    assert [each.ttl for each in client.ask("shop.query.consul").answer] == [limits.TTL_MAX]


async def test_so_many_instances_of_queries_are_kept_laid_out(
    client: DnsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client.responder.zone._query_pools, "cost_max", 3 * limits.POOL_COST_MIN)
    for number in range(8):
        client.offer(f"10.0.0.{number}", tags=(f"v{number}",))
    define(client, name="t-", template=True, tags=("${name.suffix}",))
    for number in range(8):
        assert client.records(f"t-v{number}.query.consul") == [f"10.0.0.{number}"]
    assert len(client.responder.zone._query_pools) == 3


async def test_what_clients_make_up_is_found_only_once(client: DnsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each question would cost as much as the service has instances, in this region and in others."""
    looked, zone = Counter[str](), client.responder.zone
    looked_at = query_execution.is_meant

    def look(*given: Any) -> bool:
        looked["instances"] += 1
        return looked_at(*given)

    monkeypatch.setattr(query_execution, "is_meant", look)
    for number in range(5):
        client.offer(f"10.0.0.{number}", tags=("v1",))
        client.offer(f"10.0.1.{number}", service="other")
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", region="eu"), there("10.1.0.2", region="eu"))
    shop = PreparedQuery(ID[:-1] + "6", "orders", "shop", near="_agent", regions=("eu",))
    client.node.rules[shop.key] = shop
    define(client, name="t-", template=True, tags=("!${name.suffix}",), near="${name.suffix}", regions=("eu",))
    for number in range(100):
        client.offer("10.0.1.1", service="other")
        client.offer("10.0.9.9", service=NODE_SERVICE)
        assert len(client.records(f"t-{number}.query.consul")) == 5
        assert len(client.records("shop.query.consul")) == 5
    assert looked["instances"] == 10
    assert len(zone._query_pools) <= 3
    client.offer("10.0.0.9")
    assert len(client.records("shop.query.consul")) == 6
    assert looked["instances"] == 16


async def test_what_another_region_serves_is_found_only_once(
    client: DnsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, looked = query_execution.is_meant, Counter[str]()

    def look(*given: Any) -> bool:
        looked["instances"] += 1
        return looked_at(*given)

    monkeypatch.setattr(query_execution, "is_meant", look)
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", region="eu"), there("10.1.0.2", region="eu"))
    define(client, regions=("eu",))
    for _ in range(20):
        assert len(client.records("shop.query.consul")) == 2
    assert looked["instances"] == 2
    assert len(client.responder.zone._query_pools) == 1


async def test_a_template_finds_a_service_that_is_registered_with_capital_letters(client: DnsClient) -> None:
    client.offer("10.0.0.1", service="Web")
    every = PreparedQuery(ID, "${name.full}", template=True)
    client.node.rules[every.key] = every
    assert client.records("web.query.consul") == ["10.0.0.1"]
    client.offer("10.0.0.2", service="web")
    assert client.records("web.query.consul") == ["10.0.0.2"], "its own spelling first"


async def test_while_the_node_is_closed_nothing_is_said_of_any_name(
    client: DnsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*_given: Any, **_options: Any) -> None:
        raise NodeClosed("node alpha is closed")

    for what, name in (("policies", "shop.query.consul"), ("lookup", "orders.service.consul")):
        with monkeypatch.context() as patch:
            patch.setattr(FakeNode, what, closed)
            assert code(client, name) == "SERVFAIL"
    assert not client.responder.counters[Count.DNS_MISTAKES]


async def test_a_question_waits_for_all_regions_at_once(client: DnsClient, monkeypatch: pytest.MonkeyPatch) -> None:
    node, held = client.node, set[str]()
    for region in ("asia", "eu"):
        node.hold_elsewhere(region, "orders", there("10.1.0.1", region=region))
    known = FakeNode.regional_service

    def only_held(self: FakeNode, service: str, region: str) -> RegionalService:
        if region not in held:
            raise RegionUnavailable("nothing is known")
        return known(self, service, region)

    async def fetch(_self: FakeNode, _service: str, region: str, *, patience: float = 3.0) -> None:
        await trio.sleep(patience if region == "asia" else 0.1)
        held.update({region} - {"asia"})

    monkeypatch.setattr(FakeNode, "regional_service", only_held)
    monkeypatch.setattr(FakeNode, "fetch", fetch)
    define(client, regions=("asia", "eu"))
    query = dns.message.make_query("shop.query.consul", "A").to_wire()
    answer = await client.responder.answer_in_time(query)
    assert answer is not None
    assert [str(each[0]) for each in dns.message.from_wire(answer).answer] == ["10.1.0.1"]
