"""Names of services of a followed region: from what is held of it, and a failure while nothing is known."""

from __future__ import annotations

import socket
from typing import Any

import attrs
import dns.message
import dns.rcode
import pytest
import trio
from trio.testing import MockClock

from gossipreg.frontends.dns import limits, server, zone
from gossipreg.frontends.dns.choosing import Chosen, Unknown, chosen_in_region
from gossipreg.frontends.dns.names import ServiceName
from gossipreg.frontends.dns.responder import DnsResponder
from gossipreg.model import Health, Instance
from gossipreg.regional import RegionalDirectory, RegionalService
from gossipreg.runtime.regions.regions import Regions
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


def query(name: str) -> bytes:
    return dns.message.make_query(name, "A", use_edns=0).to_wire()


def hosts(packet: bytes | None) -> list[str]:
    assert packet is not None
    answer = dns.message.from_wire(packet)
    assert answer.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(answer.rcode())
    return sorted(str(each) for rrset in answer.answer for each in rrset)


@attrs.define(eq=False)
class Follows(FakeNode):
    """A node that follows for real."""

    held: Regions = attrs.field(kw_only=True)

    def regional_service(self, service: str, region: str) -> RegionalService:
        return self.held.service(service, region)

    def regional_directory(self, region: str) -> RegionalDirectory:
        return self.held.directory(region)

    def index(self, service: str | None = None, region: str | None = None) -> int:
        return super().index(service) if region is None else self.held.index(service, region)

    async def fetch(self, service: str, region: str, *, patience: float = 3.0) -> RegionalService:
        return await self.held.fetch(service, region, patience)


def following(regions: Regions) -> DnsResponder:
    return DnsClient(regions=(FAR,), node=Follows(region="us", held=regions)).responder


async def test_the_first_question_waits_for_the_first_answer(autojump_clock: MockClock) -> None:
    agent = FarAgent()
    agent.node.hold(there("10.1.0.1"))
    agent.node.hold(there("10.1.0.2", id="b", tags=("v2",)))
    async with FarCluster.of(agent).followed() as regions:
        responder = following(regions)
        began = trio.current_time()
        assert hosts(await responder.answer_in_time(query("v2.orders.service.eu.consul"))) == ["10.1.0.2"]
        assert trio.current_time() - began < 1
        assert hosts(await responder.answer_in_time(query("orders.service.eu.consul"), tcp=True)) == [
            "10.1.0.1",
            "10.1.0.2",
        ]
        began = trio.current_time()
        await responder.answer_in_time(query("nothing.service.eu.consul"))
        assert trio.current_time() == began, "it is known that there is none"


@pytest.mark.parametrize(("cut", "least", "most"), [(True, 1.5, limits.FIRST_ANSWER_SECONDS), (False, 0.0, 0.5)])
async def test_where_nothing_answers_a_question_waits_no_longer_than_that(
    autojump_clock: MockClock, cut: bool, least: float, most: float
) -> None:
    agent = FarAgent(is_cut=cut, is_down=not cut)
    async with FarCluster.of(agent).followed() as regions:
        responder = following(regions)
        began = trio.current_time()
        answer = await responder.answer_in_time(query("orders.service.eu.consul"))
        assert answer is not None
        assert dns.message.from_wire(answer).rcode() == dns.rcode.SERVFAIL
        assert least <= trio.current_time() - began <= most


async def test_no_more_questions_wait_than_may_and_the_others_are_told_at_once(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "WAITING_MAX", 3)
    agent = FarAgent(is_cut=True)
    async with FarCluster.of(agent).followed() as regions:
        responder = following(regions)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        with ours, theirs:
            for each in (ours, theirs):
                each.setblocking(False)
            served = Served(theirs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.serve_udp, served, responder)  # type: ignore[arg-type]  # as a socket
                for _ in range(5):
                    ours.send(query("orders.service.eu.consul"))
                await trio.sleep(0.1)
                assert len(served.sent) == 2
                agent.is_cut = False
                agent.node.hold(there("10.1.0.1"))
                await trio.sleep(limits.FIRST_ANSWER_SECONDS + 1)
                assert len(served.sent) == 5
                nursery.cancel_scope.cancel()


@attrs.define(eq=False)
class Served:
    """A socket that notes what is sent to clients."""

    ours: socket.socket
    sent: list[bytes] = attrs.field(factory=list)

    def fileno(self) -> int:
        return self.ours.fileno()

    def recvfrom(self, size: int) -> tuple[bytes, tuple[str, int]]:
        return self.ours.recv(size), ("127.0.0.1", 9)

    def sendto(self, answer: bytes, _to: object) -> None:
        self.sent.append(answer)


def test_instances_of_a_region_are_chosen_again_when_something_has_changed_only(
    client: DnsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen: list[str] = []

    def counted(node: FakeNode, region: str, asked: ServiceName) -> Chosen | Unknown:
        chosen.append(region)
        return chosen_in_region(node, region, asked)

    monkeypatch.setattr(zone, "chosen_in_region", counted)
    for _ in range(3):
        assert sorted(client.records("orders.service.eu.consul")) == ["10.1.0.1", "10.1.0.2"]
    assert chosen == ["eu"]
    client.node.hold_elsewhere("eu", "orders", there("10.1.0.3"), there("10.1.0.4", port=82))
    for _ in range(3):
        assert sorted(client.records("orders.service.eu.consul")) == ["10.1.0.3", "10.1.0.4"]
    assert chosen == ["eu", "eu"]
    client.node.hold_elsewhere("eu", "orders")
    assert code(client, "orders.service.eu.consul") == "NXDOMAIN"
