"""Names of services of a followed region: from what is held of it, and a failure while nothing is known."""

from __future__ import annotations

from typing import Any

import dns.rcode
import pytest
import trio
from trio.testing import MockClock

from gossipreg.model import Health, Instance
from tests.frontends.dns.client import DnsClient
from tests.frontends.fake_node import FakeNode
from tests.runtime.regions.far_cluster import FAR, FarAgent, FarCluster


def there(host: str, **more: Any) -> Instance:
    fields: dict[str, Any] = {"id": host, "service": "orders", "host": host, "port": 81, "owner": "beta", **more}
    return Instance(**fields)


def code(client: DnsClient, name: str, type_: str = "A") -> str:
    return dns.rcode.to_text(client.ask(name, type_).rcode())


@pytest.fixture
def client() -> DnsClient:
    client = DnsClient(ttl=5, regions=("eu", "a.eu"))
    client.offer("10.0.0.1")
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", tags=("v2",)), there("10.1.0.2", zone="north"))
    client.node.hold_elsewhere("a.eu", "orders", there("10.2.0.1"))
    return client


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("orders.service.eu.consul", ["10.1.0.1", "10.1.0.2"]),
        ("orders.service.eu.dc.gossipreg", ["10.1.0.1", "10.1.0.2"]),
        ("ORDERS.service.EU.consul", ["10.1.0.1", "10.1.0.2"]),
        ("orders.query.eu.consul", ["10.1.0.1", "10.1.0.2"]),
        ("v2.orders.service.eu.consul", ["10.1.0.1"]),
        ("orders.service.north.zone.eu.consul", ["10.1.0.2"]),
        ("orders.service.a.eu.consul", ["10.2.0.1"]),
        ("orders.service.consul", ["10.0.0.1"]),
        ("8080.0a000001.addr.eu.consul", ["10.0.0.1"]),
    ],
)
def test_a_name_in_a_followed_region_gives_its_instances(client: DnsClient, name: str, hosts: list[str]) -> None:
    assert sorted(client.records(name)) == hosts


def test_no_client_is_to_keep_what_is_told_of_another_region(client: DnsClient) -> None:
    for type_ in ("A", "SRV"):
        answer = client.ask("orders.service.eu.consul", type_)
        assert {each.ttl for each in (*answer.answer, *answer.additional)} == {0}
    (soa,) = client.ask("nothing.service.eu.consul").authority
    assert (soa.ttl, soa[0].minimum) == (0, 0)
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.3"))
    assert client.records("orders.service.eu.consul") == ["10.1.0.3"], "nor does the responder"


def test_what_is_stale_is_given_as_it_was_last_known(client: DnsClient) -> None:
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1"), stale=True)
    assert client.records("orders.service.eu.consul") == ["10.1.0.1"]
    assert code(client, "v2.orders.service.eu.consul") == "SERVFAIL", "the tag may be there by now"
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", health=Health.CRITICAL), stale=True)
    assert code(client, "orders.service.eu.consul") == "SERVFAIL", "it may be well by now"
    client.node.hold_elsewhere("eu", "orders", stale=True)
    assert code(client, "orders.service.eu.consul") == "SERVFAIL"


def test_what_is_not_known_is_a_failure_and_no_answer_about_the_own_region(client: DnsClient) -> None:
    client.node.cut = True
    for name in ("orders", "v2.orders", "nothing", "_orders._tcp"):
        answer = client.ask(f"{name}.service.eu.consul", "SRV")
        assert dns.rcode.to_text(answer.rcode()) == "SERVFAIL", name
        assert not answer.answer
    client.node.cut = False
    assert code(client, "nothing.service.eu.consul") == "NXDOMAIN"
    assert code(client, "beta.node.eu.consul") == "SERVFAIL"
    assert code(client, "orders.service.asia.consul") == "NXDOMAIN"
    for name in ("eu", "dc", "eu.dc", "service.eu"):
        assert code(client, f"{name}.consul") == "NOERROR", name


def test_what_is_there_and_cannot_serve_has_no_records(client: DnsClient) -> None:
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.1", health=Health.CRITICAL))
    client.node.hold_elsewhere("eu", "a.web", there("10.1.0.9", service="a.web"))
    assert code(client, "orders.service.eu.consul") == "NOERROR"
    assert code(client, "web.service.eu.consul") == "NOERROR", "another name is below it"
    assert code(client, "v2.orders.service.eu.consul") == "NXDOMAIN"
    assert client.ask("orders.service.eu.consul", "ANY").answer


async def test_no_name_is_denied_that_the_far_cluster_has(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real follower, from before its first answer to long after the border was cut."""
    agent = FarAgent()
    agent.node.hold(there("10.1.0.1"))
    async with FarCluster.of(agent).followed() as regions:
        node = FakeNode(region="us")
        monkeypatch.setattr(FakeNode, "regional_service", lambda _, *asked: regions.service(*asked))
        monkeypatch.setattr(FakeNode, "regional_directory", lambda _, region: regions.directory(region))
        client = DnsClient(regions=(FAR,), node=node)
        name = "orders.service.eu.consul"
        assert code(client, name) == "SERVFAIL"
        assert code(client, "nothing.service.eu.consul") == "SERVFAIL"
        await regions.fetch("orders", FAR)
        assert client.records(name) == ["10.1.0.1"]
        assert code(client, "nothing.service.eu.consul") == "NXDOMAIN"
        agent.node.hold(there("10.1.0.2", service="late"))
        agent.is_cut = True
        for _ in range(60):
            await trio.sleep(1)
            assert client.records(name) == ["10.1.0.1"]
            assert code(client, "v2.orders.service.eu.consul") in ("SERVFAIL", "NXDOMAIN")
        assert code(client, "late.service.eu.consul") == "SERVFAIL"
        assert code(client, "v2.orders.service.eu.consul") == "SERVFAIL"
        agent.is_cut = False
        await trio.sleep(30)
        assert client.records("late.service.eu.consul") == ["10.1.0.2"], "a question has a service followed"
        agent.node.hold(there("10.1.0.3", service="v2.late"))
        agent.node.hold(there("10.1.0.2", service="late", tags=("v2",)))
        await trio.sleep(10)
        assert code(client, "v2.late.service.eu.consul") == "SERVFAIL", (
            "it is listed, and was not told before it was asked"
        )
        await regions.fetch("v2.late", FAR)
        assert client.records("v2.late.service.eu.consul") == ["10.1.0.3"]
