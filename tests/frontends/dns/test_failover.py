"""Names of a service that this region cannot serve are answered from the next region of the list."""

from __future__ import annotations

import attrs
import dns.message
import dns.rcode
import pytest
from trio.testing import MockClock

from gossipreg.frontends.serving.failover_list import FailoverList
from gossipreg.model import Health
from gossipreg.regional import RegionalService
from tests.frontends.dns.client import DnsClient
from tests.frontends.dns.test_regions import code, there
from tests.frontends.fake_node import FakeNode

pytestmark = pytest.mark.usefixtures("autojump_clock")

LIST = FailoverList(("eu", "asia"))


@pytest.fixture
async def client(autojump_clock: MockClock) -> DnsClient:
    client = DnsClient(ttl=5, regions=("asia", "eu"), failover=LIST)
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", region="eu", tags=("v2",)))
    client.node.hold_elsewhere("asia", "orders", there("10.2.0.1", region="asia", role="primary"))
    return client


@pytest.mark.parametrize("name", ["orders.service", "orders.query", "ORDERS.service", "_orders._tcp.service"])
async def test_the_next_region_answers_while_there_is_none_here_that_can_serve(client: DnsClient, name: str) -> None:
    assert client.records(f"{name}.consul") == ["10.1.0.1"]
    own = client.offer("10.0.0.1")
    assert client.records(f"{name}.consul") == ["10.0.0.1"]
    client.offer("10.0.0.1", health=Health.CRITICAL)
    answer = client.ask(f"{name}.consul")
    assert [(each.ttl, str(each[0])) for each in answer.answer] == [(0, "10.1.0.1")], "no client is to keep it"
    client.withdraw(own)
    client.node.hold_elsewhere("eu", "orders")
    assert client.records(f"{name}.consul") == ["10.2.0.1"]


async def test_a_tag_or_a_role_decides_too(client: DnsClient) -> None:
    client.offer("10.0.0.1", tags=("v1",))
    assert client.records("v1.orders.service.consul") == ["10.0.0.1"]
    assert client.records("v2.orders.service.consul") == ["10.1.0.1"]
    assert client.records("primary.orders.service.consul") == ["10.2.0.1"]


async def test_names_of_one_datacenter_or_of_a_zone_are_answered_from_there_only(client: DnsClient) -> None:
    client.offer("10.0.0.1", zone="north", health=Health.CRITICAL)
    for name in ("orders.service.default.dc", "orders.service.north.zone"):
        assert client.records(f"{name}.consul") == [], name


async def test_without_a_list_there_is_no_failover(client: DnsClient) -> None:
    alone = DnsClient(regions=("eu",), node=client.node)
    assert code(alone, "orders.service.consul") == "NXDOMAIN"


async def test_what_no_region_has_does_not_exist_and_is_not_followed(
    client: DnsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    known = FakeNode.regional_service

    def ask(node: FakeNode, service: str, region: str) -> RegionalService:
        asked.append(service)
        return known(node, service, region)

    monkeypatch.setattr(FakeNode, "regional_service", ask)
    assert code(client, "nothing.service.consul") == "NXDOMAIN"
    assert asked == []


async def test_while_it_is_not_known_whether_another_region_has_it_nothing_is_denied(client: DnsClient) -> None:
    client.node.cut = True
    for name in ("orders", "nothing"):
        assert code(client, f"{name}.service.consul") == "SERVFAIL"
    client.offer("10.0.0.1")
    assert client.records("orders.service.consul") == ["10.0.0.1"]
    client.node.cut = False
    assert code(client, "nothing.service.consul") == "NXDOMAIN"


async def test_a_first_question_waits_for_the_first_answer_of_the_other_region(
    client: DnsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.node.cut = True

    async def answered(node: FakeNode, service: str, region: str, *, patience: float) -> RegionalService:
        node.cut = patience < 0
        return node.regional_service(service, region)

    monkeypatch.setattr(FakeNode, "fetch", answered)
    query = dns.message.make_query("orders.service.consul", "A")
    answer = await client.responder.answer_in_time(query.to_wire())
    assert answer is not None
    assert dns.rcode.to_text(dns.message.from_wire(answer).rcode()) == "NOERROR"


async def test_a_threshold_moves_callers_before_the_last_instance_is_gone(client: DnsClient) -> None:
    zone = client.responder.zone
    client.offer("10.0.0.1")
    for last in (2, 3):
        client.offer(f"10.0.0.{last}", health=Health.CRITICAL)
    assert client.records("orders.service.consul") == ["10.0.0.1"]
    zone.failover = attrs.evolve(LIST, threshold=0.5)
    assert client.records("orders.service.consul") == ["10.1.0.1"]
