"""What the API tells of members of the region's other cells: they are nodes of the datacenter like any."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import NODE_SERVICE, Instance, Member, Status
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member

WEB = Instance(id="web-1", service="web", host="10.0.0.1", port=80, zone="north", owner="gamma")
FACTS = Instance(id=NODE_SERVICE, service=NODE_SERVICE, host="10.0.0.1", port=0, meta={"rack": "r7"}, owner="gamma")


def remote(name: str, port: int, status: Status = Status.ALIVE, *, stale: bool = False) -> Member:
    return attrs.evolve(member(name, port, status), cell="b", stale=stale)


@pytest.fixture
def node() -> FakeNode:
    node = FakeNode()
    node.see("joined", member("beta", 7941))
    node.see("joined", remote("gamma", 7942))
    node.hold(WEB)
    node.hold(FACTS)
    return node


@pytest.fixture
def client(node: FakeNode) -> Client:
    return Client(node)


async def test_a_node_of_another_cell_that_an_instance_names_can_be_asked_for(client: Client) -> None:
    [row] = await client.get("catalog/service/web")
    assert (row["Node"], row["NodeMeta"]) == ("gamma", {"zone": "north", "rack": "r7"})
    found = await client.get("catalog/node/gamma")
    assert found["Node"]["ID"] == row["ID"]
    assert list(found["Services"]) == ["web-1"]
    assert (await client.get(f"catalog/node-services/{row['ID']}"))["Node"]["Node"] == "gamma"
    checks = [check["CheckID"] for check in await client.get("health/node/gamma")]
    assert checks == ["serfHealth", "service:web-1"]


async def test_nodes_and_checks_are_those_of_all_cells(client: Client) -> None:
    assert [row["Node"] for row in await client.get("catalog/nodes")] == ["alpha", "beta", "gamma"]
    assert (await client.get("catalog/nodes?near=gamma"))[0]["Node"] == "gamma"
    nodes = [row["Node"] for row in await client.get("health/state/any") if row["CheckID"] == "serfHealth"]
    assert nodes == ["alpha", "beta", "gamma"]
    assert len(await client.get("status/peers")) == 3


@pytest.mark.parametrize("path", ["catalog/service/web", "health/service/web", "catalog/services", "catalog/nodes"])
async def test_the_meta_of_a_node_of_another_cell_can_be_selected_by(client: Client, path: str) -> None:
    assert await client.get(f"{path}?node-meta=rack:r7")
    assert not await client.get(f"{path}?node-meta=rack:r8")


async def test_a_node_that_its_cell_failed_is_critical(node: FakeNode, client: Client) -> None:
    node.see("failed", remote("gamma", 7942, Status.FAILED))
    critical = await client.get("health/state/critical")
    assert [(row["Node"], row["Output"]) for row in critical] == [("gamma", "Agent not live or unreachable")]


async def test_the_check_of_a_node_says_that_its_cell_is_not_heard(node: FakeNode, client: Client) -> None:
    node.see("alive", remote("gamma", 7942, stale=True))
    of_node = [row for row in await client.get("health/node/gamma") if row["CheckID"] == "serfHealth"]
    assert [(row["Status"], row["Output"]) for row in of_node] == [("passing", "Nothing is heard of its cell b")]
    [entry] = await client.get("health/service/web")
    assert entry["Checks"][0]["Output"] == "Nothing is heard of its cell b"


async def test_agents_of_all_cells_name_the_same_leader_while_they_hear_each_other() -> None:
    leaders = []
    for own, other in (("beta", "gamma"), ("gamma", "beta")):
        node = FakeNode(name=own)
        node.see("joined", member(own, 7941 + (own == "gamma")))
        node.see("joined", remote(other, 7941 + (other == "gamma")))
        leaders.append(await Client(node).get("status/leader"))
    assert leaders == ["127.0.0.1:7941"] * 2


async def test_the_leader_is_not_of_a_cell_that_is_not_heard(node: FakeNode, client: Client) -> None:
    node.see("joined", remote("aaron", 7939))
    assert await client.get("status/leader") == "127.0.0.1:7939"
    node.see("alive", remote("aaron", 7939, stale=True))
    assert await client.get("status/leader") == "127.0.0.1:7940"


async def test_an_agent_of_another_cell_is_not_written_as_a_node_without_one(node: FakeNode, client: Client) -> None:
    service = {"Service": "shop", "Port": 80}
    for path, body in (
        ("catalog/register", {"Node": "gamma", "Address": "10.9.9.9", "Service": service}),
        ("catalog/deregister", {"Node": "gamma"}),
    ):
        said = await client.ask("PUT", path, body)
        assert (said.status, said.text.partition(":")[0]) == (409, "'gamma' is an agent")
    assert node.lookup("shop", healthy=False) == ()


async def test_a_member_of_another_cell_is_not_made_to_leave(client: Client) -> None:
    said = await client.ask("PUT", "agent/force-leave/gamma")
    assert (said.status, said.text) == (500, "'gamma' is a member of the cell 'b'")


async def test_the_agents_own_list_of_members_is_that_of_its_cell(client: Client) -> None:
    assert [row["Name"] for row in await client.get("agent/members")] == ["alpha", "beta"]
