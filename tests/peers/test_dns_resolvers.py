"""Behind real resolvers the DNS frontend's names are found, by those too that minimise queries strictly (RFC 9156)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import dns.asyncquery
import dns.exception
import dns.message
import pytest
import trio

from gossipreg import Address
from tests.drills.waiting import eventually
from tests.frontends.dns.client import code, data
from tests.peers import coredns
from tests.peers.clusters import open_cluster
from tests.peers.dns_resolvers import RESOLVERS, Resolver
from tests.peers.results import record

pytestmark = [pytest.mark.peer, pytest.mark.slow]

#: Instances of a service whose answer does not fit into a packet.
MANY = 300


@pytest.fixture(params=RESOLVERS, ids=lambda each: each.program.rpartition("/")[2])
def resolver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Resolver:
    found: Resolver = request.param
    if found.program == "coredns":
        found = attrs.evolve(found, program=str(coredns.build(tmp_path_factory.mktemp("coredns"))))
    if found.lacks is not None:
        pytest.skip(found.lacks)
    return found


async def ask(at: Address, name: str, type_: str = "A") -> dns.message.Message:
    """Over UDP, and again over TCP if the answer is truncated."""
    query = dns.message.make_query(name, type_, use_edns=0, payload=1232)
    answer, _ = await dns.asyncquery.udp_with_fallback(query, at.host, port=at.port, timeout=5)
    return answer


async def test_every_kind_of_name_is_found_and_changes_are_seen(tmp_path: Path, resolver: Resolver) -> None:
    async with open_cluster() as cluster, resolver.forwarding(tmp_path, cluster.dns) as at:
        alpha, beta, _ = cluster.nodes
        await beta.register("orders", port=8080, host="10.0.0.1", tags=["v2", "a.b"], weight=3, zone="north")
        await beta.register("v2.stock", port=9090, host="10.0.0.9")
        for number in range(MANY):
            await alpha.register("many", port=80, host=f"10.1.{number // 250}.{number % 250 + 1}")
        await alpha.wait_for("orders")
        await alpha.wait_for("v2.stock")

        async def is_up() -> None:
            try:
                assert code(await ask(at, "orders.service.consul")) == "NOERROR"
            except (dns.exception.DNSException, OSError) as error:
                raise AssertionError(error) from None

        await eventually(is_up)

        for name in (
            *("orders.service.consul", "orders.service.gossipreg", "v2.orders.service.consul"),
            *("a.b.orders.service.consul", "orders.service.default.dc.consul", "orders.service.default.consul"),
            *("orders.query.consul", "orders.service.north.zone.consul", "_orders._tcp.service.consul"),
        ):
            assert data(await ask(at, name)) == ["10.0.0.1"], name
        assert data(await ask(at, "v2.stock.service.consul")) == ["10.0.0.9"]
        assert data(await ask(at, "alpha.node.consul")) == ["127.0.0.1"]
        assert data(await ask(at, "beta.node.default.dc.consul")) == ["127.0.0.1"]

        [server] = data(await ask(at, "_orders._tcp.service.consul", "SRV"))
        assert server == "1 3 8080 8080.0a000001.addr.consul."
        assert data(await ask(at, server.split()[3])) == ["10.0.0.1"]
        assert data(await ask(at, "_v2.stock._tcp.service.consul", "SRV"))

        if resolver.forwards_loopback:
            pointers = data(await ask(at, "1.0.0.127.in-addr.arpa", "PTR"))
            assert sorted(pointers) == [f"{name}.node.gossipreg." for name in ("alpha", "beta", "gamma")]

        for name in ("nothing.service.consul", "orders.service.other.dc.consul", "missing.node.consul"):
            assert code(await ask(at, name)) == "NXDOMAIN", name
        for name, type_ in (("orders.service.consul", "AAAA"), ("_tcp.service.consul", "A"), ("service.consul", "A")):
            answer = await ask(at, name, type_)
            assert (code(answer), answer.answer) == ("NOERROR", []), name

        assert len(data(await ask(at, "many.service.consul"))) == MANY

        with trio.fail_after(60):
            await beta.register("orders", port=8081, host="10.0.0.2")
            await beta.register("nothing", port=1, host="10.0.0.3", id="nothing-1")
            seconds = await eventually(_finds(at, "orders.service.consul", {"10.0.0.1", "10.0.0.2"}))
            await eventually(_finds(at, "nothing.service.consul", {"10.0.0.3"}))
            await beta.deregister("nothing-1")
            await eventually(_finds(at, "nothing.service.consul", set()))
    record(
        client=resolver.name,
        version=await resolver.says_version(),
        api="DNS",
        did=f"forwards A, SRV, {'PTR, ' * resolver.forwards_loopback}NXDOMAIN, NODATA, and 300 addresses over TCP",
        seconds=seconds,
    )


def _finds(at: Address, name: str, hosts: set[str]) -> Callable[[], Awaitable[None]]:
    async def check() -> None:
        answer = await ask(at, name)
        assert set(data(answer)) == hosts
        assert (code(answer) == "NXDOMAIN") is not bool(hosts)

    return check
