"""Prepared queries: defined, listed, explained and executed as Consul's clients do."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from gossipreg import limits
from gossipreg.counters import Count
from gossipreg.errors import RegionUnavailable
from gossipreg.frontends.consul.query_execution import QueryRunner
from gossipreg.model import NODE_SERVICE, Health, Instance
from gossipreg.prepared_query import PreparedQuery, find
from gossipreg.regional import RegionalService
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member

ID = "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"
MUCH_META = {str(number): "" for number in range(limits.PREPARED_QUERY_META_ENTRIES_MAX + 1)}
WEB = {"Name": "near-web", "Service": {"Service": "web"}}


def web(number: int, **more: Any) -> Instance:
    given = {"owner": "alpha", **more}
    return Instance(id=f"web-{number}", service="web", host=f"10.0.0.{number}", port=80, **given)


def there(id_: str, region: str, **more: Any) -> Instance:
    return Instance(id=id_, service="web", host="10.1.0.1", port=80, owner="beta", region=region, **more)


@pytest.fixture
async def client(autojump_clock: Any) -> Client:
    return Client(FakeNode())


def fake(client: Client) -> FakeNode:
    assert isinstance(client.node, FakeNode)
    return client.node


async def define(client: Client, **service: Any) -> str:
    said = await client.ask("POST", "query", {"Name": "near-web", "Service": {"Service": "web", **service}})
    assert said.status == 200, said
    id_: str = said.json["ID"]
    return id_


async def ids(client: Client, name: str = "near-web", query: str = "") -> list[str]:
    found = await client.get(f"query/{name}/execute{query}")
    return [each["Service"]["ID"] for each in found["Nodes"]]


async def test_a_query_is_defined_read_back_changed_and_removed(client: Client) -> None:
    assert await client.get("query") == []
    service = {
        "Service": "web",
        "Failover": {"NearestN": 2, "Datacenters": ["eu", "asia"]},
        "OnlyPassing": True,
        "Near": "_agent",
        "Tags": ["v2", "!old"],
        "NodeMeta": {"zone": "a"},
        "ServiceMeta": {"version": "2"},
        "IgnoreCheckIDs": ["disk"],
    }
    body = {"Name": "near-web", "Service": service, "DNS": {"TTL": "10s"}}
    id_ = (await client.ask("POST", "query", body)).json["ID"]
    [found] = await client.get(f"query/{id_}")
    assert found["ID"] == id_
    assert found["DNS"] == {"TTL": "10s"}
    failover = {"NearestN": 2, "Datacenters": ["eu", "asia"], "Targets": None}
    assert found["Service"] == {**service, "Failover": failover, "Connect": False}
    assert await client.get("query") == [found]
    await client.put(f"query/{id_}", {**WEB, "ID": id_, "Name": "other"})
    [found] = await client.get(f"query/{id_.upper()}")
    assert (found["Name"], found["Service"]["Tags"], found["Service"]["Failover"]["Datacenters"]) == (
        "other",
        None,
        None,
    )
    said = await client.ask("DELETE", f"query/{id_}")
    assert (said.status, said.body) == (200, b"")
    assert await client.get("query") == []
    for method in ("GET", "PUT", "DELETE"):
        assert (await client.ask(method, f"query/{id_}", WEB)).status == 404


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"ID": "8f246b77-f3e1-ff88-5b48-8ec93abf3e05"}, "ID: "),
        ({"Session": "abc"}, "Session: "),
        ({"Name": ""}, "Name: "),
        ({"Service": {}}, "Service.Service: "),
        ({"Service": {"Service": "no such name!"}}, "Service.Service: "),
        ({"Service": {"Service": "web", "Connect": True}}, "Service.Connect: "),
        ({"Service": {"Service": "web", "Tags": "v1"}}, "Service.Tags: "),
        (
            {"Service": {"Service": "web", "Failover": {"Targets": [{"Peer": "p"}]}}},
            "Service.Failover.Targets[0].Peer: ",
        ),
        (
            {"Service": {"Service": "web", "Failover": {"NearestN": 1, "Targets": [{"Datacenter": "eu"}]}}},
            "Service.Failover.Targets: ",
        ),
        ({"Service": {"Service": "web", "Failover": {"NearestN": -1}}}, "Service.Failover.NearestN: "),
        ({"Service": {"Service": "web", "NodeMeta": MUCH_META}}, "Service.NodeMeta: "),
        (
            {"Service": {"Service": "web", "ServiceMeta": MUCH_META}},
            "Service.ServiceMeta: ",
        ),
        ({"DNS": {"TTL": "soon"}}, "DNS.TTL: "),
        ({"Template": {"Type": "glob"}}, "Template.Type: "),
        ({"Template": {"Type": "name_prefix_match", "Regexp": "^(.*)$"}}, "Template.Regexp: "),
        ({"Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${match(1)}"}}, "Template: "),
    ],
)
async def test_what_cannot_be_carried_out_is_refused_with_the_name_of_the_field(
    client: Client, wrong: dict[str, Any], named: str
) -> None:
    said = await client.ask("POST", "query", {**WEB, **wrong})
    assert said.status == 400
    assert named in said.text
    assert await client.get("query") == []


async def test_a_name_is_given_once(client: Client) -> None:
    id_ = await define(client)
    said = await client.ask("POST", "query", {**WEB, "Name": "Near-Web"})
    assert (said.status, "another query" in said.text) == (400, True)
    await client.put(f"query/{id_}", WEB)


async def test_no_query_is_larger_than_a_packet(client: Client) -> None:
    tags = [f"{number:0100}" for number in range(limits.POLICY_BYTES_MAX // 100 - 1)]
    await define(client, Tags=tags)


async def test_tags_and_meta_choose_and_an_exclamation_mark_means_without(client: Client) -> None:
    node = fake(client)
    node.hold(web(1, tags=("V2",), meta={"version": "2"}))
    node.hold(web(2, tags=("v2", "old"), meta={"version": "2"}))
    node.hold(web(3, tags=("v1",), meta={"version": "1"}))
    node.see("joined", member("alpha", 7940))
    for service, found in (
        ({}, ["web-1", "web-2", "web-3"]),
        ({"Tags": ["v2"]}, ["web-1", "web-2"]),
        ({"Tags": ["v2", "!old"]}, ["web-1"]),
        ({"ServiceMeta": {"version": "1"}}, ["web-3"]),
        ({"NodeMeta": {"zone": "north"}}, ["web-1", "web-2", "web-3"]),
        ({"NodeMeta": {"zone": "south"}}, []),
    ):
        id_ = await define(client, **service)
        assert await ids(client) == found
        assert await ids(client, id_) == found
        assert await ids(client, query="?limit=1") == await ids(client, query="?limit=00000001") == found[:1]
        assert await ids(client, query="?limit=000") == await ids(client, query=f"?limit={'9' * 30}") == found
        await client.ask("DELETE", f"query/{id_}")


async def test_warnings_serve_unless_only_passing_is_asked_for_and_ignored_checks_count_for_nothing(
    client: Client,
) -> None:
    node = fake(client)
    node.hold(web(1))
    node.hold(web(2, health=Health.WARNING))
    node.hold(web(3, health=Health.CRITICAL))
    assert await ids(client, "web") == ["web-1", "web-2"], "a service is a query that asks for nothing more"
    id_ = await define(client)
    assert await ids(client) == ["web-1", "web-2"]
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": {"Service": "web", "OnlyPassing": True}})
    assert await ids(client) == ["web-1"]
    ignored = {"Service": "web", "IgnoreCheckIDs": ["service:web-3"]}
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": ignored})
    assert await ids(client) == ["web-1", "web-2", "web-3"]


async def test_the_nearest_instances_come_first_unless_the_caller_says_otherwise(client: Client) -> None:
    node = fake(client)
    node.hold(web(1, owner="beta"))
    node.hold(web(2))
    await define(client, Near="_agent")
    assert await ids(client) == ["web-2", "web-1"]
    assert await ids(client, query="?near=beta") == ["web-1", "web-2"]


async def test_the_first_region_that_can_serve_what_is_asked_answers(client: Client) -> None:
    node = fake(client)
    node.hold_elsewhere("eu", "web", there("eu-1", "eu", health=Health.WARNING))
    node.hold_elsewhere("asia", "web", there("asia-1", "asia"))
    node.hold(web(1, health=Health.WARNING))
    far = {"Datacenters": ["moon", "EU", "asia"]}  # one that is not known is left out, as by Consul
    id_ = await define(client, Failover=far, OnlyPassing=True)
    found = await client.get("query/near-web/execute")
    assert (found["Datacenter"], found["Failovers"], await ids(client)) == ("asia", 2, ["asia-1"])
    assert found["Nodes"][0]["Node"]["Datacenter"] == "asia"
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": {"Service": "web", "Failover": far}})
    found = await client.get("query/near-web/execute")
    assert (found["Datacenter"], found["Failovers"]) == ("default", 0), (
        "a warning serves where passing is not asked for"
    )
    node.hold(web(1, health=Health.CRITICAL))
    assert await ids(client) == ["eu-1"]
    targets = {"Targets": [{"Datacenter": "asia"}]}
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": {"Service": "web", "Failover": targets}})
    assert await ids(client) == ["asia-1"]
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": {"Service": "web", "Failover": {"NearestN": 5}}})
    assert await ids(client) in (["asia-1"], ["eu-1"])
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": {"Service": "web"}})
    assert await ids(client) == []


async def test_nothing_is_denied_while_another_region_may_have_it(client: Client) -> None:
    node = fake(client)
    node.hold_elsewhere("eu", "web", there("eu-1", "eu"))
    node.cut = True
    await define(client, Failover={"Datacenters": ["eu"]})
    said = await client.ask("GET", "query/near-web/execute")
    assert (said.status, "not known whether" in said.text) == (503, True)
    node.hold(web(1))
    assert await ids(client) == ["web-1"]


async def test_a_change_of_an_instance_or_of_the_query_is_seen_at_once(client: Client) -> None:
    node = fake(client)
    node.hold(web(1))
    id_ = await define(client, Tags=["v2"])
    assert await ids(client) == []
    node.hold(web(1, tags=("v2",)))
    assert await ids(client) == ["web-1"]
    await client.put(f"query/{id_}", {"Name": "near-web", "Service": {"Service": "web", "Tags": ["v3"]}})
    assert await ids(client) == []


async def test_a_template_is_filled_in_and_explained(client: Client) -> None:
    fake(client).hold(web(1))
    body = {"Name": "near-", "Template": {"Type": "name_prefix_match"}, "Service": {"Service": "${name.suffix}"}}
    said = await client.ask("POST", "query", body)
    assert said.status == 200, said
    assert await ids(client, "near-web") == ["web-1"]
    found = await client.get("query/near-web/explain")
    assert found["Query"]["Service"]["Service"] == "web"
    assert found["Query"]["Template"]["Type"] == ""
    [listed] = await client.get("query")
    assert (listed["Service"]["Service"], listed["Template"]["Type"]) == ("${name.suffix}", "name_prefix_match")
    assert (await client.ask("GET", "query/other/explain")).status == 404


async def test_a_query_goes_before_the_service_of_its_name(client: Client) -> None:
    node = fake(client)
    node.hold(web(1))
    node.hold(attrs.evolve(web(1), service="api", id="api-1"))
    assert await ids(client, "api") == ["api-1"]
    await client.ask("POST", "query", {"Name": "api", "Service": {"Service": "web"}})
    assert await ids(client, "api") == ["web-1"]


async def test_no_service_of_another_region_is_followed_that_does_not_exist(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any client can make up names that a template fills in, and a node follows so many services."""
    node, followed = fake(client), list[str]()
    node.hold_elsewhere("eu", "web", there("eu-1", "eu"))
    there_is = node.regional_service

    def follow(service: str, region: str) -> RegionalService:
        followed.append(service)
        return there_is(service, region)

    monkeypatch.setattr(FakeNode, "regional_service", lambda _self, service, region: follow(service, region))
    service = {"Service": "${name.full}", "Failover": {"Datacenters": ["eu"]}}
    body = {"Name": "", "Template": {"Type": "name_prefix_match"}, "Service": service}
    assert (await client.ask("POST", "query", body)).status == 200
    assert await ids(client, "made-up") == []
    assert await ids(client, "web") == ["eu-1"]
    assert set(followed) == {"web"}


async def test_names_that_one_template_means_do_not_disturb_each_others_failover(client: Client) -> None:
    node = fake(client)
    node.hold_elsewhere("eu", "web", there("eu-1", "eu", tags=("a", "b")))
    service = {"Service": "web", "Tags": ["${name.suffix}"], "Failover": {"Datacenters": ["eu"]}}
    body = {"Name": "web-", "Template": {"Type": "name_prefix_match"}, "Service": service}
    assert (await client.ask("POST", "query", body)).status == 200
    for _ in range(5):
        assert await ids(client, "web-a") == ["eu-1"]
        assert await ids(client, "web-b") == ["eu-1"]
    assert node.counters[Count.FAILOVERS] == 2


async def test_no_name_is_found_that_is_longer_than_a_querys(client: Client) -> None:
    service = {"Service": "${name.full}" * 10}
    body = {"Name": "", "Template": {"Type": "name_prefix_match"}, "Service": service}
    assert (await client.ask("POST", "query", body)).status == 200
    name = "x" * (limits.PREPARED_QUERY_NAME_CHARS_MAX + 1)
    for verb in ("execute", "explain"):
        said = await client.ask("GET", f"query/{name}/{verb}")
        assert (said.status, len(said.text) < 400) == (404, True)


async def test_nothing_is_kept_of_a_template_that_is_filled_in_with_what_no_service_is_called(client: Client) -> None:
    runner, node = QueryRunner(fake(client)), fake(client)
    query = PreparedQuery(ID, "${name.full}" * 10, template=True, regions=("eu",))
    node.hold_elsewhere("eu", "web", there("eu-1", "eu"))
    for number in range(5):
        found = find([query], f"{number} of a long name that is not a service's")
        assert found is not None
        await runner.warm(found)
        assert runner(found).instances == ()
    assert len(runner._services) == len(runner._meant) == len(runner._asked) == 0


async def test_what_several_regions_have_is_asked_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    node = fake(client)
    for region in ("asia", "eu", "us"):
        node.hold_elsewhere(region, "web", there(f"{region}-1", region))
    await define(client, Failover={"Datacenters": ["asia", "eu", "us"]})
    node.cut = True

    async def fetch(_self: FakeNode, _service: str, region: str, *, patience: float = 3.0) -> None:
        await trio.sleep(2.0 if region == "us" else patience)
        node.cut = region != "us"
        if node.cut:
            raise RegionUnavailable("nothing is known")

    monkeypatch.setattr(FakeNode, "fetch", fetch)
    began = trio.current_time()
    assert (await client.ask("GET", "query/near-web/execute")).status == 503
    assert trio.current_time() - began == pytest.approx(3.0, abs=0.5)


async def test_what_is_known_of_nodes_is_no_service_in_any_region(client: Client) -> None:
    node = fake(client)
    node.hold_elsewhere("eu", NODE_SERVICE, attrs.evolve(there("x", "eu"), service=NODE_SERVICE))
    node.hold(attrs.evolve(web(1), service=NODE_SERVICE))
    await define(client, Service=NODE_SERVICE, Failover={"Datacenters": ["eu"]})
    assert await ids(client) == []
