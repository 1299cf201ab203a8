"""What the API tells of the cluster."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg.frontends.consul.catalog_rows import CatalogContext, CatalogInstance, worst
from gossipreg.frontends.consul.kept import KEPT, KeptCheck, KeptService
from gossipreg.frontends.serving.kept_meta import JOINT
from gossipreg.model import NODE_SERVICE, Health, Instance, Status
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member

WEB = Instance(id="web-1", service="web", host="10.0.0.1", port=80, tags=("v2", "EU"), zone="north", owner="alpha")
FAR = Instance(id="web-2", service="web", host="10.0.0.2", port=80, tags=("v1",), weight=3, zone="south", owner="beta")


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.see("joined", attrs.evolve(member("beta", 7941), zone="south"))
    node.hold(WEB)
    node.hold(FAR)
    return node


@pytest.fixture
def client(node: FakeNode) -> Client:
    return Client(node)


async def ids(client: Client, path: str) -> list[str]:
    return [entry["Service"]["ID"] for entry in await client.get(path)]


async def test_an_instance_is_told_with_its_node_and_its_checks(client: Client) -> None:
    entry = (await client.get("health/service/web"))[0]
    assert (entry["Node"]["Node"], entry["Node"]["Address"], entry["Node"]["Datacenter"]) == (
        "alpha",
        "127.0.0.1",
        "default",
    )
    assert entry["Node"]["Meta"] == {"zone": "north"}
    assert entry["Service"]["Address"] == "10.0.0.1"
    assert entry["Service"]["Tags"] == ["v2", "EU"]
    assert entry["Service"]["Weights"] == {"Passing": 1, "Warning": 1}
    assert [(check["CheckID"], check["Status"]) for check in entry["Checks"]] == [
        ("serfHealth", "passing"),
        ("service:web-1", "passing"),
    ]


async def test_every_answer_of_the_catalog_has_consuls_headers(client: Client) -> None:
    said = await client.ask("GET", "health/service/missing")
    assert (said.status, said.json) == (200, [])
    assert said.index > 0
    assert said.headers["x-consul-knownleader"] == "true"
    assert said.headers["x-consul-lastcontact"] == "0"
    assert said.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["web-1", "web-2"]),
        ("?stale&dc=default&consistent&pretty", ["web-1", "web-2"]),
        ("?tag=v2", ["web-1"]),
        ("?tag=V2&tag=eu", ["web-1"]),
        ("?tag=v2&tag=v1", []),
        ("?node-meta=zone:south", ["web-2"]),
        ("?filter=Service.Weights.Passing==3", ["web-2"]),
        ("?near=beta", ["web-2", "web-1"]),
        ("?near=_agent", ["web-1", "web-2"]),
        ("?near=missing", ["web-1", "web-2"]),
    ],
)
async def test_instances_are_chosen_and_ordered_as_asked(client: Client, query: str, found: list[str]) -> None:
    assert await ids(client, f"health/service/web{query}") == found


async def test_a_query_for_passing_gets_just_those(node: FakeNode, client: Client) -> None:
    node.hold(attrs.evolve(FAR, health=Health.WARNING, reason="http: 429"))
    assert await ids(client, "health/service/web?passing") == ["web-1"]
    assert await ids(client, "health/service/web?passing=1") == ["web-1"]
    assert await ids(client, "health/service/web?passing=false") == ["web-1", "web-2"]
    [warned] = [entry for entry in await client.get("health/service/web") if entry["Service"]["ID"] == "web-2"]
    assert (warned["Checks"][1]["Status"], warned["Checks"][1]["Output"]) == ("warning", "http: 429")


async def test_what_is_taken_out_or_weighs_nothing_is_in_maintenance(node: FakeNode, client: Client) -> None:
    node.hold(attrs.evolve(WEB, health=Health.MAINTENANCE, reason="new disk"))
    node.hold(attrs.evolve(FAR, weight=0))
    entries = await client.get("health/service/web")
    assert [entry["Checks"][-1]["CheckID"] for entry in entries] == [
        "_service_maintenance:web-1",
        "_service_maintenance:web-2",
    ]
    assert entries[0]["Checks"][-1]["Notes"] == "new disk"
    assert await ids(client, "health/service/web?passing") == []


async def test_the_node_of_an_instance_whose_owner_has_failed_is_critical(node: FakeNode, client: Client) -> None:
    node.see("failed", member("beta", 7941, Status.FAILED))
    node.hold(attrs.evolve(FAR, health=Health.CRITICAL, stale=True, reason="its owner beta has failed"))
    entry = (await client.get("health/service/web"))[1]
    assert (entry["Checks"][0]["CheckID"], entry["Checks"][0]["Status"]) == ("serfHealth", "critical")
    states = {
        check["Node"]: check["Status"] for check in await client.get("health/state/any") if not check["ServiceID"]
    }
    assert states == {"alpha": "passing", "beta": "critical"}
    assert [check["Node"] for check in await client.get("health/state/critical")] == ["beta", "beta"]


async def test_a_role_and_a_term_are_told_in_meta(node: FakeNode, client: Client) -> None:
    node.hold(attrs.evolve(WEB, role="primary", term=7, meta={"role": "primary", "team": "shop"}))
    entry = (await client.get("health/service/web"))[0]
    assert entry["Service"]["Meta"] == {"role": "primary", "term": "7", "team": "shop"}


async def test_the_catalog_lists_services_nodes_and_rows(client: Client) -> None:
    assert await client.get("catalog/services") == {"web": ["EU", "v1", "v2"]}
    assert await client.get("catalog/services?node-meta=zone:south") == {"web": ["v1"]}
    assert await client.get("catalog/services?filter=ServiceTags contains v2") == {"web": ["EU", "v2"]}
    assert [row["Node"] for row in await client.get("catalog/nodes")] == ["alpha", "beta"]
    assert [row["Node"] for row in await client.get("catalog/nodes?near=beta")] == ["beta", "alpha"]
    rows = await client.get("catalog/service/web?tag=v1")
    assert [(row["Node"], row["ServiceID"], row["ServiceAddress"], row["ServicePort"]) for row in rows] == [
        ("beta", "web-2", "10.0.0.2", 80)
    ]
    assert await client.get("catalog/datacenters") == ["default"]


async def test_a_node_is_told_with_what_it_offers_by_name_or_by_id(client: Client) -> None:
    beta = await client.get("catalog/node/beta")
    assert list(beta["Services"]) == ["web-2"]
    assert await client.get(f"catalog/node/{beta['Node']['ID']}") == beta
    assert await client.get("catalog/node/missing") is None
    listed = await client.get("catalog/node-services/beta")
    assert [each["ID"] for each in listed["Services"]] == ["web-2"]
    assert (await client.get("catalog/node-services/missing"))["Node"] is None
    assert [check["CheckID"] for check in await client.get("health/node/beta")] == ["serfHealth", "service:web-2"]
    assert await client.get("health/node/missing") == []


async def test_a_members_node_id_depends_on_its_name_alone(client: Client) -> None:
    other = FakeNode(name="gamma")
    other.see("joined", member("beta", 9999))
    ours = (await client.get("catalog/node/beta"))["Node"]["ID"]
    assert (await Client(other).get("catalog/node/beta"))["Node"]["ID"] == ours


async def test_checks_are_told_by_service_and_by_state(client: Client) -> None:
    assert [check["CheckID"] for check in await client.get("health/checks/web")] == ["service:web-1", "service:web-2"]
    assert len(await client.get("health/state/passing")) == 4
    assert await client.get("health/state/warning") == []
    assert await client.get("health/state/unknown") == []
    assert (await client.ask("GET", "health/state/sick")).status == 400


async def test_what_is_kept_of_each_service_comes_to_the_same_as_looking_at_all(node: FakeNode, client: Client) -> None:
    async def same() -> None:
        everything = "filter=Node is not empty"
        assert await client.get("health/state/any") == await client.get(f"health/state/any?{everything}")
        assert await client.get("catalog/services") == await client.get(f"catalog/services?{everything}")

    await same()
    node.hold(attrs.evolve(FAR, health=Health.CRITICAL, stale=True, tags=("v9",)))
    await same()
    node.hold(Instance(id="db", service="db", host="10.0.0.3", port=5432, owner="beta"))
    await same()
    node.drop(WEB)
    node.drop(attrs.evolve(FAR, health=Health.CRITICAL, stale=True, tags=("v9",)))
    await same()
    assert await client.get("catalog/services") == {"db": []}


async def test_a_service_is_a_prepared_query_of_its_own(client: Client) -> None:
    found = await client.get("query/web/execute?near=_agent&limit=1")
    assert (found["Service"], [each["Service"]["ID"] for each in found["Nodes"]]) == ("web", ["web-1"])
    assert (await client.ask("GET", "query/missing/execute")).status == 404
    assert (await client.ask("GET", "query/web/execute?limit=many")).status == 400


async def test_the_agent_tells_of_itself_and_of_its_members(client: Client) -> None:
    itself = await client.get("agent/self")
    assert itself["Config"]["Datacenter"] == "default"
    assert itself["Config"]["NodeName"] == itself["Member"]["Name"] == "alpha"
    assert [(each["Name"], each["Status"]) for each in await client.get("agent/members")] == [("alpha", 1), ("beta", 1)]
    assert await client.get("status/leader") == "127.0.0.1:7940"
    assert await client.get("status/peers") == ["127.0.0.1:7940", "127.0.0.1:7941"]


async def test_the_agent_tells_only_of_what_is_registered_with_it(client: Client) -> None:
    assert list(await client.get("agent/services")) == ["web-1"]
    assert list(await client.get("agent/services?filter=Service == other")) == []
    assert (await client.get("agent/service/web-1"))["Port"] == 80
    assert (await client.ask("GET", "agent/service/web-2")).status == 404


async def test_the_health_of_an_own_instance_is_in_the_status_code(node: FakeNode, client: Client) -> None:
    async def status(path: str) -> tuple[int, str]:
        said = await client.ask("GET", f"agent/health/service/{path}?format=text")
        return said.status, said.text

    assert await status("id/web-1") == (200, "passing")
    node.hold(attrs.evolve(WEB, health=Health.WARNING))
    assert await status("id/web-1") == (429, "warning")
    node.hold(attrs.evolve(WEB, health=Health.CRITICAL))
    assert await status("name/web") == (503, "critical")
    said = await client.ask("GET", "agent/health/service/name/web")
    assert (said.status, said.json[0]["AggregatedStatus"]) == (503, "critical")
    assert (await status("id/web-2"))[0] == 404
    assert (await status("name/missing"))[0] == 404


@pytest.fixture
def spread(node: FakeNode) -> FakeNode:
    """Members at several distances, each with an instance of ``db``; ``far`` is in this agent's zone."""
    zones = {"here": "", "close": "", "middle": "south", "far": "north", "unmeasured": "south"}
    for number, (name, zone) in enumerate(zones.items(), start=1):
        if name != "here":
            node.see("joined", attrs.evolve(member(name, 7000 + number), zone=zone))
        owner = node.name if name == "here" else name
        node.hold(Instance(id=name, service="db", host="10.0.0.1", port=number, owner=owner, zone=zone or "north"))
    node.round_trips |= {"close": 0.0004, "middle": 0.005, "far": 0.08}
    return node


@pytest.mark.usefixtures("spread")
async def test_near_the_agent_is_by_measured_round_trips(client: Client) -> None:
    order = ["here", "close", "middle", "far", "unmeasured"]
    assert await ids(client, "health/service/db?near=_agent") == order
    assert await ids(client, "health/service/db?near=alpha") == order
    nodes = [row["Node"] for row in await client.get("catalog/nodes?near=_agent")]
    assert nodes[0] == "alpha"
    assert [name for name in nodes if name in order] == order[1:]
    found = await client.get("query/db/execute?near=_agent&limit=2")
    assert [row["Service"]["ID"] for row in found["Nodes"]] == ["here", "close"]


@pytest.mark.usefixtures("spread")
async def test_near_another_node_is_its_zone_and_then_by_its_coordinates(client: Client) -> None:
    found = await ids(client, "health/service/db?near=middle")
    assert found == ["middle", "unmeasured", "here", "close", "far"]


async def test_round_trips_that_are_about_equal_do_not_change_the_order(spread: FakeNode, client: Client) -> None:
    spread.round_trips |= {"close": 0.0045, "middle": 0.0041, "far": 0.0060}
    assert await ids(client, "health/service/db?near=_agent") == ["here", "close", "far", "middle", "unmeasured"]


@pytest.mark.parametrize(
    "path",
    [
        *("catalog/nodes", "catalog/service/web", "catalog/node/alpha", "catalog/node-services/alpha"),
        *("health/service/web", "health/checks/web", "health/node/alpha", "health/state/any"),
    ],
)
async def test_the_indexes_of_a_row_are_always_1(client: Client, node: FakeNode, path: str) -> None:
    indexes = [-1]
    for port in (81, 82):
        node.hold(attrs.evolve(WEB, port=port))
        said = await client.ask("GET", path)
        rows = found(said.json)
        assert rows
        assert set(rows) <= {("CreateIndex", 1), ("ModifyIndex", 1)}
        assert said.index > indexes[-1] or "service/web" not in path
        indexes.append(said.index)


def found(document: object) -> list[tuple[str, object]]:
    """Every index in a document, however deep."""
    if isinstance(document, list):
        return [each for inner in document for each in found(inner)]
    if not isinstance(document, dict):
        return []
    here = [(name, value) for name, value in document.items() if name in ("CreateIndex", "ModifyIndex")]
    return here + [each for inner in document.values() for each in found(inner)]


@pytest.mark.parametrize("health", list(Health))
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"weight": 0},
        {"stale": True},
        {"owner": "drained"},
        {"owner": "checked"},
        {"owner": "gone"},
        {"meta": {KEPT: KeptService(node="written").text()}},
        {"meta": {KEPT: KeptService(checks={"a": KeptCheck("a", "A", "", "")}).text()}, "reason": "a: it fails"},
        {"meta": {JOINT: "{}"}},
    ],
)
def test_the_state_of_an_instance_is_what_its_checks_come_to(health: Health, more: dict[str, Any]) -> None:
    checks = {"disk": KeptCheck("disk", "Disk", "", "")}
    stated = Instance(
        id=NODE_SERVICE,
        service=NODE_SERVICE,
        host="10.0.0.1",
        port=0,
        owner="checked",
        health=Health.CRITICAL,
        reason="disk: it is full",
        meta={KEPT: KeptService(checks=checks).text()},
    )
    members = {name: member(name, 7940) for name in ("alpha", "drained", "checked")}
    members["drained"] = attrs.evolve(members["drained"], draining=True)
    cluster = CatalogContext("dc1", members, {"checked": stated}, {"written": stated})
    instance = Instance(**{"id": "web-1", "service": "web", "host": "10.0.0.1", "port": 80, "owner": "alpha", **more})
    instance = attrs.evolve(instance, health=health)
    for healthy in (False, True):
        seen = CatalogInstance(instance, members.get(instance.owner), healthy=healthy)
        assert cluster.state(seen) == worst(cluster.checks(seen))
