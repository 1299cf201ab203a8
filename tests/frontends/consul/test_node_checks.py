"""Checks, maintenance and meta of nodes: everywhere in the catalog, and over a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from gossipreg import Config, Node, open_node
from gossipreg.frontends.serving import settling
from gossipreg.model import NODE_SERVICE, Health
from tests.drills.waiting import eventually
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode
from tests.runtime.nodes import config


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has just been started is asked at once."""
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.0)


DISK = {"CheckID": "disk", "Name": "Disk", "Notes": "is there room", "TTL": "1m", "Status": "passing"}


async def statuses(client: Client, path: str) -> dict[str, str]:
    return {row["CheckID"]: row["Status"] for row in await client.get(path)}


async def test_a_check_of_a_node_is_shown_as_one_and_fails_all_of_its_instances_everywhere() -> None:
    async with open_node(config("one")) as one, open_node(config("other", one)) as other:
        here, there = Client(one), Client(other)
        await here.put("agent/service/register", {"Name": "web", "Port": 80})
        await one.register("db", id="db", port=1)
        await here.put("agent/check/register", DISK)

        async def check_it_is_known() -> None:
            assert await statuses(there, "health/node/one") == {
                "serfHealth": "passing",
                "disk": "passing",
                "service:db": "passing",
            }

        await eventually(check_it_is_known)
        [row] = [each for each in await there.get("health/node/one") if each["CheckID"] == "disk"]
        assert (row["Name"], row["Notes"], row["ServiceID"], row["Type"]) == ("Disk", "is there room", "", "ttl")
        shown = (await here.get("agent/checks"))["disk"]
        assert (shown["ServiceID"], shown["ServiceName"], shown["Status"]) == ("", "", "passing")
        assert await here.get("catalog/services") == {"web": [], "db": []}
        assert NODE_SERVICE not in one.services()
        assert (await here.ask("GET", f"agent/service/{NODE_SERVICE}")).status == 404

        await here.put("agent/check/fail/disk?note=full")

        async def check_it_has_failed() -> None:
            assert other.lookup("web") == other.lookup("db") == ()

        await eventually(check_it_has_failed)
        [web] = other.lookup("web", healthy=False)
        assert (web.health, web.reason) == (Health.CRITICAL, "node: disk: full")
        [entry] = await there.get("health/service/web")
        assert [(each["CheckID"], each["Status"], each["Output"]) for each in entry["Checks"][1:]] == [
            ("disk", "critical", "full")
        ]
        assert (await statuses(there, "health/state/critical"))["disk"] == "critical"
        assert (await here.ask("GET", "agent/health/service/id/web")).status == 503

        await here.put("agent/check/deregister/disk")
        assert [each.id for each in one.lookup("web")] == ["web"]
        assert one.own(NODE_SERVICE) is None


async def test_nodes_say_why_they_are_in_maintenance() -> None:
    async with open_node(config("one")) as one, open_node(config("other", one)) as other:
        here, there = Client(one), Client(other)
        await here.put("agent/service/register", {"Name": "web", "Port": 80})
        await here.put("agent/maintenance?enable=true&reason=reboot")

        async def check_it_is_known() -> None:
            checks = [each for entry in await there.get("health/service/web") for each in entry["Checks"]]
            found = [each for each in checks if each["CheckID"] == "_node_maintenance"]
            assert [(each["Status"], each["Notes"], each["Type"]) for each in found] == [
                ("critical", "reboot", "maintenance")
            ]

        await eventually(check_it_is_known)
        for client in (here, there):
            for path in ("health/node/one", "health/state/critical"):
                assert await statuses(client, path) | {"_node_maintenance": "critical"} == await statuses(client, path)
        assert await there.get("health/service/web?passing") == []
        await here.put("agent/maintenance?enable=false")
        assert "_node_maintenance" not in await statuses(here, "health/node/one")
        assert one.own(NODE_SERVICE) is None
        await one.drain("by another command")
        [out] = [each for each in await here.get("health/node/one") if each["CheckID"] == "_node_maintenance"]
        assert "no reason was provided" in out["Notes"]


async def restarted(tmp_path: Path, node_meta: tuple[str, ...], act: Any) -> None:
    async with open_node(Config(name="one", bind="127.0.0.1:0", data_dir=tmp_path, node_meta=node_meta)) as node:
        await act(node, Client(node))


async def test_what_a_node_states_outlives_its_restart(tmp_path: Path) -> None:
    async def first(node: Node, client: Client) -> None:
        await client.put("agent/service/register", {"Name": "web", "Port": 80})
        await client.put("agent/check/register", DISK)
        await client.put("agent/check/fail/disk?note=full")
        await client.put("agent/maintenance?enable=true&reason=reboot")

    async def second(node: Node, client: Client) -> None:
        found = await client.get("health/node/one")
        assert {row["CheckID"]: row["Notes"] or row["Output"] for row in found if not row["ServiceID"]} == {
            "serfHealth": "Agent alive and reachable",
            "_node_maintenance": "reboot",
            "disk": "is there room",
        }
        assert node.lookup("web") == ()
        assert (await client.get("catalog/node/one"))["Node"]["Meta"] == {"rack": "r2"}
        await client.put("agent/check/pass/disk")
        assert len(node.lookup("web")) == 1

    async def third(node: Node, client: Client) -> None:
        assert (await client.get("catalog/node/one"))["Node"]["Meta"] == {}
        await client.put("agent/maintenance?enable=false")
        await client.put("agent/check/deregister/disk")
        assert node.own(NODE_SERVICE) is None

    await restarted(tmp_path, ("rack=r1", "os=linux"), first)
    await restarted(tmp_path, ("rack=r2",), second)
    await restarted(tmp_path, (), third)


async def test_meta_selects_nodes_in_every_read_that_has_nodes() -> None:
    async with (
        open_node(config("one", node_meta=("rack=r1", "os=linux"))) as one,
        open_node(config("other", one)) as other,
    ):
        for number, node in enumerate((one, other)):
            await node.register("web", id=f"web-{number}", port=80)
        client = Client(other)

        async def check_it_is_known() -> None:
            assert [each["Node"] for each in await client.get("catalog/nodes?node-meta=rack:r1")] == ["one"]
            assert len(await client.get("health/service/web")) == 2

        await eventually(check_it_is_known)
        assert (await Client(one).get("agent/self"))["Meta"] == {"rack": "r1", "os": "linux"}
        query = "node-meta=rack:r1&node-meta=os:linux"
        assert [each["Service"]["ID"] for each in await client.get(f"health/service/web?{query}")] == ["web-0"]
        assert [each["ServiceID"] for each in await client.get(f"catalog/service/web?{query}")] == ["web-0"]
        assert [each["Node"] for each in await client.get(f"health/checks/web?{query}")] == ["one"]
        assert {each["Node"] for each in await client.get(f"health/state/any?{query}")} == {"one"}
        assert await client.get(f"catalog/services?{query}") == {"web": []}
        for path in ("health/service/web", "catalog/service/web", "health/checks/web", "catalog/nodes"):
            assert await client.get(f"{path}?node-meta=rack:r9") == []
        found = await client.get("health/service/web?filter=Node.Meta.rack==r1")
        assert [each["Service"]["ID"] for each in found] == ["web-0"]


async def test_an_answer_follows_what_nodes_state() -> None:
    node = FakeNode()
    client = Client(node)
    await node.register("web", id="web", port=80)
    before = await client.ask("GET", "health/service/web")
    await node.register(NODE_SERVICE, id=NODE_SERVICE, port=0, meta={"rack": "r1"})
    after = await client.ask("GET", "health/service/web")
    assert after.json[0]["Node"]["Meta"]["rack"] == "r1"
    assert after.index > before.index


async def test_a_node_check_never_removes_the_node(autojump_clock: trio.testing.MockClock) -> None:
    node = FakeNode()
    body = {**DISK, "DeregisterCriticalServiceAfter": "1m"}
    await Client(node).put("agent/check/register", body)
    [check] = node.checked[NODE_SERVICE]
    assert check.deregister_after is None
