"""What the API tells of the agent itself, and of what all agents agree on without a leader."""

from __future__ import annotations

import attrs
import pytest
import trio

from gossipreg.frontends.consul.api import ABSENT, PATHS
from gossipreg.frontends.serving.scopes import Action
from gossipreg.model import Health, Instance, Status
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def client(node: FakeNode) -> Client:
    return Client(node)


async def test_every_agent_names_the_same_leader(node: FakeNode) -> None:
    """Scripts that run something on the leader only run it once."""
    members = [member("beta", 7941), member("gamma", 7942)]
    leaders = set()
    for own in members:
        there = FakeNode(name=own.name, address=own.address)
        for each in (*members, member("alpha", 7940, Status.FAILED), member("aaron", 7939, Status.LEFT)):
            there.see("joined", each)
        leaders.add(await Client(there).get("status/leader"))
    assert leaders == {"127.0.0.1:7941"}


async def test_it_says_itself_which_the_leader_is(client: Client) -> None:
    told = (await client.get("agent/self"))["Stats"]["consul"]["leader_addr"]
    assert told == await client.get("status/leader")


async def test_the_members_of_all_datacenters_are_named_with_theirs(client: Client) -> None:
    assert [each["Name"] for each in await client.get("agent/members?wan=1")] == ["alpha.default"]


READS = [
    "status/leader",
    "status/peers",
    "catalog/services",
    "catalog/service/web",
    "catalog/nodes",
    "catalog/node/alpha",
    "health/service/web",
    "health/checks/web",
    "health/node/alpha",
    "health/state/any",
    "query/web/execute",
    "coordinate/nodes",
    "event/list",
]


@pytest.mark.parametrize("path", READS)
async def test_another_datacenter_is_not_here(client: Client, path: str) -> None:
    said = await client.ask("GET", f"{path}?dc=elsewhere")
    assert (said.status, said.text) == (500, "No path to datacenter")
    own = [await client.ask("GET", f"{path}{query}") for query in ("", "?dc=", "?dc=default")]
    assert len({each.status for each in own}) == 1
    assert own[0].status in (200, 404)


def test_each_route_that_reads_the_cluster_is_tried_with_another_datacenter() -> None:
    prefixes = {path.split("/")[0] for path in READS} | {"agent"}
    routes = [each for each, _, (_, action) in [(p, m, h) for m, p, h in PATHS.routes] if action is not Action.ABSENT]
    assert {each.split("/")[2] for each in routes if each not in ABSENT} <= prefixes


async def test_a_cached_answer_says_that_it_is_one_and_how_old(client: Client, node: FakeNode) -> None:
    first, again = [await client.ask("GET", "catalog/services?cached") for _ in range(2)]
    assert (first.headers["x-cache"], again.headers["x-cache"], again.headers["age"]) == ("MISS", "HIT", "0")
    await node.register("web", id="web", port=80)
    changed = await client.ask("GET", "catalog/services?cached")
    assert (changed.headers["x-cache"], changed.json) == ("MISS", {"web": []})
    assert "x-cache" not in (await client.ask("GET", "catalog/services")).headers


async def test_the_host_is_told_with_the_time(client: Client) -> None:
    host = await client.get("agent/host")
    assert host["CollectionTime"] > 1_700_000_000_000_000_000
    assert host["Host"]["hostname"]
    assert host["Memory"]["total"] > 0


async def test_metrics_have_the_form_of_consuls(client: Client) -> None:
    metrics = await client.get("agent/metrics")
    [memory] = [each for each in metrics["Gauges"] if each["Name"].endswith(".runtime.alloc_bytes")]
    assert memory["Value"] > 0
    [sent] = [each for each in metrics["Counters"] if each["Name"].endswith(".gossipreg.packets_sent")]
    assert sent["Count"] == 12
    page = await client.ask("GET", "agent/metrics?format=prometheus")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "\ngossipreg_node_info{" in page.text
    assert (await client.ask("GET", "agent/metrics?format=xml")).status == 400


async def test_an_agent_reads_its_files_again_before_it_answers(node: FakeNode) -> None:
    reloads: list[str] = []

    async def reload() -> None:
        reloads.append("reload")

    client = Client(node, reload=reload)
    await client.put("agent/reload")
    assert reloads == ["reload"]
    assert (await Client(node).ask("PUT", "agent/reload")).status == 501


async def test_no_user_event_was_ever_fired(client: Client) -> None:
    said = await client.ask("GET", "event/list?name=deploy")
    assert (said.json, said.index > 0) == ([], True)


async def test_coordinates_tell_the_round_trips_that_were_measured(client: Client, node: FakeNode) -> None:
    assert await client.get("coordinate/nodes") == []
    assert (await client.ask("GET", "coordinate/node/alpha")).status == 404
    assert [each["Datacenter"] for each in await client.get("coordinate/datacenters")] == ["default"]
    for name in ("beta", "gamma", "delta"):
        node.see("joined", member(name, 7941))
    node.round_trips |= {"beta": 0.010, "gamma": 0.002}
    heights = {each["Node"]: each["Coord"]["Height"] for each in await client.get("coordinate/nodes")}
    assert heights == {"alpha": 0.0, "beta": 0.010, "gamma": 0.002}
    [beta] = await client.get("coordinate/node/beta")
    assert beta["Coord"]["Vec"] == [0.0] * 8
    assert (await client.ask("GET", "coordinate/node/delta")).status == 404


async def test_members_can_be_filtered(client: Client, node: FakeNode) -> None:
    node.see("joined", attrs.evolve(member("beta", 7941), zone="south"))
    found = await client.get('agent/members?filter=Tags["zone"]==south')
    assert [each["Name"] for each in found] == ["beta"]


async def test_a_ttl_is_updated_with_the_short_words_of_older_clients(client: Client, node: FakeNode) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80, "Check": {"TTL": "9s"}})
    for word in ("pass", "warn", "fail"):
        await client.put("agent/check/update/service:web", {"Status": word})
    assert [str(health) for _, _, health, _ in node.beats] == ["passing", "warning", "critical"]


async def test_the_datacenter_is_the_region_whatever_the_cluster_is_called() -> None:
    node = FakeNode(region="eu")
    node.hold(Instance(id="w", service="web", host="10.0.0.1", port=80, owner="alpha"))
    client = Client(node)
    assert await client.get("catalog/datacenters") == ["eu"]
    config = (await client.get("agent/self"))["Config"]
    assert (config["Datacenter"], config["PrimaryDatacenter"]) == ("eu", "eu")
    assert [each["Tags"]["dc"] for each in await client.get("agent/members")] == ["eu"]
    assert [each["Node"]["Datacenter"] for each in await client.get("health/service/web?dc=EU")] == ["eu"]
    said = await client.ask("GET", "health/service/web?dc=default")
    assert (said.status, said.body) == (500, b"No path to datacenter")


async def test_another_datacenter_is_answered_with_its_own_instances_and_their_age() -> None:
    node = FakeNode(region="us")
    node.hold(Instance(id="w", service="web", host="10.0.0.1", port=80, owner="alpha"))
    far = Instance(id="w", service="web", host="10.1.0.1", port=81, owner="beta", tags=("v2",), zone="north")
    node.hold_elsewhere("eu", "web", far, attrs.evolve(far, id="x", health=Health.CRITICAL), age=1.2345)
    client = Client(node)
    assert await client.get("catalog/datacenters") == ["us", "eu"]
    (entry,) = await client.get("health/service/web?dc=EU&passing")
    assert (entry["Service"]["Address"], entry["Service"]["Port"], entry["Node"]["Node"]) == ("10.1.0.1", 81, "beta")
    assert (entry["Node"]["Datacenter"], entry["Node"]["Address"]) == ("eu", "127.0.0.1")
    assert [each["ServiceID"] for each in await client.get("catalog/service/web?dc=eu")] == ["w", "x"]
    assert [each["ServiceID"] for each in await client.get("catalog/service/web?dc=eu&tag=v1")] == []
    assert await client.get("catalog/services?dc=eu") == {"web": ["v2"]}
    said = await client.ask("GET", "health/service/web?dc=eu")
    assert (said.index, said.headers["x-consul-lastcontact"], said.headers["x-consul-knownleader"]) == (
        8,
        "1235",
        "true",
    )
    node.hold_elsewhere("eu", "web", far, age=60, stale=True)
    said = await client.ask("GET", f"health/service/web?dc=eu&index={said.index}")
    assert (said.index, said.headers["x-consul-knownleader"]) == (9, "false")
    assert [each["Service"]["Port"] for each in await client.get("health/service/web")] == [80]
    for path in ("catalog/nodes", "health/state/any", "catalog/node/beta", "query/web/execute"):
        said = await client.ask("GET", f"{path}?dc=eu")
        assert (said.status, said.text.startswith("No path to datacenter")) == (500, True), path
    node.cut = True
    assert (await client.ask("GET", "health/service/web?dc=eu")).status == 503


async def test_a_blocking_read_of_another_datacenter_ends_when_that_changes() -> None:
    node = FakeNode(region="us")
    far = Instance(id="w", service="web", host="10.1.0.1", port=81, owner="beta")
    node.hold_elsewhere("eu", "web", far)
    client = Client(node)
    said: list[int] = []
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def ask() -> None:
                said.append((await client.ask("GET", "health/service/web?dc=eu&index=8&wait=5m")).index)

            while not node.waiting:
                await trio.lowlevel.checkpoint()
            node.hold_elsewhere("eu", "web", far, attrs.evolve(far, id="x"))
    assert said == [9]
