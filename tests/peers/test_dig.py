"""`dig` understands the answers of the DNS frontend."""

from __future__ import annotations

import shutil

import pytest
import trio

from tests.drills.waiting import PATIENCE
from tests.peers.clusters import Cluster, open_cluster

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed (Debian: bind9-dnsutils)"),
]


async def dig(cluster: Cluster, *arguments: str) -> str:
    """What it prints; whatever it has to complain about fails the test."""
    with trio.fail_after(PATIENCE):
        ran = await trio.run_process(
            ["dig", f"@{cluster.dns.host}", "-p", str(cluster.dns.port), "+norecurse", *arguments],
            capture_stdout=True,
            capture_stderr=True,
        )
    printed = ran.stdout.decode()
    assert "WARNING" not in printed
    assert "malformed" not in printed
    assert not ran.stderr
    return printed


async def short(cluster: Cluster, *arguments: str) -> list[str]:
    return (await dig(cluster, "+short", *arguments)).splitlines()


async def test_it_finds_what_another_node_offers() -> None:
    async with open_cluster() as cluster:
        await cluster.nodes[1].register("orders", port=8080, host="10.0.0.1", tags=["v2"], weight=3, role="primary")
        await cluster.nodes[0].wait_for("orders")
        assert await short(cluster, "orders.service.consul") == ["10.0.0.1"]
        assert await short(cluster, "primary.orders.service.consul", "A") == ["10.0.0.1"]
        assert await short(cluster, "_orders._v2.service.consul", "SRV") == ["1 3 8080 8080.0a000001.addr.consul."]
        assert await short(cluster, "beta.node.consul") == ["127.0.0.1"]
        assert sorted(await short(cluster, "-x", "127.0.0.1")) == [
            "alpha.node.gossipreg.",
            "beta.node.gossipreg.",
            "gamma.node.gossipreg.",
        ]
        assert "status: NXDOMAIN" in await dig(cluster, "nothing.service.consul")
        assert "status: REFUSED" in await dig(cluster, "www.example.com")


async def test_it_gets_every_one_of_many_instances_however_it_asks() -> None:
    async with open_cluster() as cluster:
        hosts = {f"10.0.0.{number}" for number in range(1, 101)}
        for host in hosts:
            await cluster.nodes[0].register("orders", port=80, host=host)
        await cluster.nodes[0].wait_for("orders", at_least=100)
        for options in ([], ["+noedns"], ["+bufsize=512"], ["+tcp"]):
            found = await short(cluster, *options, "orders.service.gossipreg")
            assert {line for line in found if not line.startswith(";")} == hosts


async def test_it_is_told_our_version_of_edns() -> None:
    async with open_cluster() as cluster:
        assert "status: BADVERS" in await dig(cluster, "+edns=1", "+noednsneg", "gossipreg", "SOA")
