"""What is said of the region's other cells: their members have names, and what is stale is given last."""

from __future__ import annotations

import attrs
import pytest
import trio

from gossipreg.frontends.dns.directory import Directory
from gossipreg.model import Instance
from gossipreg.regional import CellInfo, RegionalService
from tests.frontends.dns.client import DnsClient, code, data
from tests.frontends.fake_node import FakeNode, member


async def test_members_of_all_cells_have_names(nursery: trio.Nursery) -> None:
    node = FakeNode()
    node.see("joined", attrs.evolve(member("gamma", 7942), cell="b"))
    directory = Directory(node)
    await nursery.start(directory.follow)
    assert directory.hosts("gamma") == ("127.0.0.1",)
    assert directory.members_at("127.0.0.1") == ["alpha", "gamma"]


def test_an_instance_that_lookups_leave_alone_is_given_only_where_there_is_no_other(dns_client: DnsClient) -> None:
    good = dns_client.offer("10.0.0.1", 80, tags=("v1",))
    dns_client.offer("10.0.0.2", 81, tags=("v2",), stale=True)
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.1"]
    assert len(data(dns_client.ask("orders.service.gossipreg", "SRV"))) == 1
    assert dns_client.records("v2.orders.service.gossipreg") == ["10.0.0.2"]
    dns_client.withdraw(good)
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.2"]


def test_the_same_holds_in_another_region() -> None:
    client = DnsClient(regions=("eu",))
    good, poor = (Instance(id=host, service="orders", host=host, port=80) for host in ("10.1.0.1", "10.1.0.2"))
    found = RegionalService(
        service="orders", region="eu", index=1, instances=(good, poor), healthy=(good,), age=0.1, stale=False
    )
    client.node.elsewhere["eu"] = {"orders": found}
    assert client.records("orders.service.eu.consul") == ["10.1.0.1"]


@pytest.mark.parametrize("name", ["pay.service.gossipreg", "v2.orders.service.gossipreg", "web-9.node.gossipreg"])
def test_what_a_cell_that_is_not_heard_may_have_is_not_denied(name: str, dns_client: DnsClient) -> None:
    dns_client.offer("10.0.0.1", 80)
    assert code(dns_client.ask(name)) == "NXDOMAIN"
    for silent in (CellInfo(name="b", members=2, age=13.0, stale=True), CellInfo(name="b", age=None, stale=True)):
        dns_client.node.of_cells = (CellInfo(name="a", own=True, members=3), silent)
        assert code(dns_client.ask(name)) == "SERVFAIL"
    assert dns_client.records("orders.service.gossipreg") == ["10.0.0.1"], "what is known is told"
    dns_client.node.of_cells = (CellInfo(name="a", own=True), CellInfo(name="b", age=13.0, stale=True))
    assert code(dns_client.ask(name)) == "NXDOMAIN", "all its members have left"


@pytest.mark.parametrize("name", ["pay.service.gossipreg", "web-9.node.gossipreg"])
def test_a_node_that_has_not_joined_denies_no_name(name: str, dns_client: DnsClient) -> None:
    dns_client.node.joined = False
    assert code(dns_client.ask(name)) == "SERVFAIL"
    assert code(dns_client.ask("pay.service.elsewhere.gossipreg")) == "NXDOMAIN", "there is no such region"
    dns_client.node.joined = True
    assert code(dns_client.ask(name)) == "NXDOMAIN"
