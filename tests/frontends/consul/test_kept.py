"""What a client registered is read back as it was, from every agent and after a restart."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.consul.catalog_rows import own_checks, service
from gossipreg.frontends.consul.kept import KEPT, KeptCheck, KeptService, kept_of
from gossipreg.model import Health, Instance
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member

POSTED: dict[str, Any] = {
    "Name": "web",
    "ID": "web-1",
    "Port": 80,
    "Meta": {"team": "shop"},
    "Weights": {"Passing": 5, "Warning": 2},
    "EnableTagOverride": True,
    "TaggedAddresses": {"wan": {"Address": "198.18.0.1", "Port": 8080}, "LAN": {"Address": "10.0.0.1"}},
    "Locality": {"Region": "eu", "Zone": "north"},
    "Checks": [{"CheckID": "alive", "Name": "Is it alive?", "Notes": "asks nicely", "TTL": "9s"}, {"TTL": "8s"}],
}


async def elsewhere(node: FakeNode) -> Client:
    """A client of another agent, which has only what was gossiped."""
    other = FakeNode(name="beta")
    other.see("joined", member("alpha", 7940))
    for name in node.services():
        for each in node.lookup(name, healthy=False):
            other.hold(each)
    return Client(other)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def client(node: FakeNode) -> Client:
    return Client(node)


async def test_a_service_is_shown_as_it_was_registered(node: FakeNode, client: Client) -> None:
    await client.put("agent/service/register", POSTED)
    [entry] = await (await elsewhere(node)).get("health/service/web")
    shown = entry["Service"]
    assert shown["Address"] == ""
    assert shown["TaggedAddresses"] == {
        "wan": {"Address": "198.18.0.1", "Port": 8080},
        "LAN": {"Address": "10.0.0.1", "Port": 0},
    }
    assert shown["Weights"] == {"Passing": 5, "Warning": 2}
    assert (shown["EnableTagOverride"], shown["Locality"]) == (True, {"Region": "eu", "Zone": "north"})
    assert shown["Meta"] == {"team": "shop"}
    [row] = await (await elsewhere(node)).get("catalog/service/web")
    assert (row["ServiceAddress"], row["ServiceEnableTagOverride"]) == ("", True)
    assert row["ServiceLocality"] == {"Region": "eu", "Zone": "north"}
    assert entry["Node"]["Address"] == row["Address"] == "127.0.0.1", "where a service without an address is called"


async def test_an_address_that_was_given_is_shown_with_its_tagged_ones(node: FakeNode, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80, "Address": "10.0.0.7"})
    shown = await client.get("agent/service/web")
    assert (shown["Address"], shown["TaggedAddresses"]["lan_ipv4"]) == ("10.0.0.7", {"Address": "10.0.0.7", "Port": 80})
    await client.put("agent/service/register", {"Name": "web", "Port": 80})
    assert "TaggedAddresses" not in await client.get("agent/service/web"), "as with Consul"


async def test_its_checks_are_shown_with_their_ids_names_notes_and_types(node: FakeNode, client: Client) -> None:
    await client.put("agent/service/register", POSTED)
    rows = await (await elsewhere(node)).get("health/checks/web")
    assert [(row["CheckID"], row["Name"], row["Notes"], row["Type"]) for row in rows] == [
        ("alive", "Is it alive?", "asks nicely", "ttl"),
        ("service:web-1:2", "Service 'web' check", "", "ttl"),
    ]
    assert await Client(node).get("agent/checks") == await client.get("agent/checks"), "an agent that forgot the rest"


def kept(*names: str) -> Instance:
    checks = {name: KeptCheck(f"id-{name}", "", "", "ttl") for name in names}
    meta = {KEPT: KeptService(checks=checks).text()}
    return Instance(id="web-1", service="web", host="10.0.0.1", port=80, owner="alpha", meta=meta)


@pytest.mark.parametrize(
    ("health", "reason", "rows"),
    [
        (Health.PASSING, "", [("id-a", "passing", ""), ("id-b", "passing", "")]),
        (Health.CRITICAL, "b: no disk: /", [("id-a", "passing", ""), ("id-b", "critical", "no disk: /")]),
        (Health.WARNING, "a", [("id-a", "warning", ""), ("id-b", "passing", "")]),
        (Health.CRITICAL, "a: not checked yet", [("id-a", "critical", ""), ("id-b", "passing", "")]),
        (
            Health.CRITICAL,
            "its owner alpha has failed",
            [
                ("service:web-1", "critical", "its owner alpha has failed"),
                ("id-a", "passing", ""),
                ("id-b", "passing", ""),
            ],
        ),
    ],
)
def test_the_gravest_check_has_the_health_of_the_instance(
    health: Health, reason: str, rows: list[tuple[str, str, str]]
) -> None:
    shown = own_checks(attrs.evolve(kept("a", "b"), health=health, reason=reason))
    assert [(row["CheckID"], row["Status"], row["Output"]) for row in shown] == rows


def test_a_service_without_checks_has_none() -> None:
    assert own_checks(kept()) == []


anything = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.text() | anything.map(json.dumps))
def test_whatever_another_node_wrote_there_is_read_or_ignored(text: str) -> None:
    told = Instance(id="i", service="s", host="10.0.0.1", port=1, meta={KEPT: text})
    assert kept_of(told) is None or service(told)["ID"] == "i"
    assert own_checks(told)[:1] == own_checks(attrs.evolve(told, meta={}))[:1] or kept_of(told) is not None


@pytest.mark.parametrize(
    "told",
    [
        [],
        {"Address": 0},
        {"TaggedAddresses": []},
        {"TaggedAddresses": {"lan": {"Address": "x"}}},
        {"Warning": "1"},
        {"Warning": True},
        {"Checks": {"a": ["id"]}},
        {"Checks": {"a": [1, 2, 3, 4]}},
    ],
)
def test_what_has_another_form_is_ignored(told: object) -> None:
    assert kept_of(Instance(id="i", service="s", host="10.0.0.1", port=1, meta={KEPT: json.dumps(told)})) is None


async def test_a_check_id_belongs_to_the_service_that_was_registered_last(node: FakeNode, client: Client) -> None:
    """As with Consul, where an agent has one check of an id."""
    for name in ("one", "two"):
        body = {"Name": name, "Checks": [{"CheckID": "alive", "TTL": "9s"}, {"CheckID": name, "TTL": "9s"}]}
        await client.put("agent/service/register", body)
    assert {id_: row["ServiceID"] for id_, row in (await client.get("agent/checks")).items()} == {
        "one": "one",
        "alive": "two",
        "two": "two",
    }
    await client.put("agent/check/pass/alive")
    assert node.beats.pop()[0] == "two"
    await Client(node).put("agent/check/register", {"CheckID": "alive", "Name": "a", "ServiceID": "one", "TTL": "9s"})
    assert [each.name for each in node.checked["two"]] == ["two"]
    await client.put("agent/service/deregister/one")
    await client.put("agent/service/register", {"Name": "two", "Check": {"CheckID": "alive", "TTL": "9s"}})
    assert [each.name for each in node.checked["two"]] == ["two", "alive"]


async def test_a_default_check_id_takes_nothing_from_a_check_of_another_origin(node: FakeNode, client: Client) -> None:
    await node.register("db", id="db", port=1, checks=[{"ttl": 9, "name": "alive"}])
    await client.put("agent/service/register", {"Name": "web", "Check": {"CheckID": "alive", "TTL": "9s"}})
    assert [each.name for each in node.checked["db"]] == ["alive"]
    assert set(await client.get("agent/checks")) == {"service:db:alive", "alive"}


async def test_a_service_has_a_digest_by_which_it_is_waited_for(
    node: FakeNode, client: Client, autojump_clock: object, nursery: trio.Nursery
) -> None:
    await client.put("agent/service/register", {"Name": "web", "Port": 80})
    said = await client.ask("GET", "agent/service/web")
    digest = said.headers["x-consul-contenthash"]
    assert (said.json["ContentHash"], said.json["Datacenter"], len(digest)) == (digest, "default", 16)
    assert "ModifyIndex" not in said.json
    started = trio.current_time()
    assert await client.ask("GET", f"agent/service/web?hash={digest}&wait=10s") == said
    assert 10 <= trio.current_time() - started < 11
    assert (await client.ask("GET", "agent/service/web?hash=other&wait=10s")) == said

    changed: list[Any] = []

    async def wait() -> None:
        changed.append(await client.ask("GET", f"agent/service/web?hash={digest}&wait=60s"))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    await client.put("agent/check/register", {"Name": "more", "ServiceID": "web", "TTL": "9s", "Status": "passing"})
    await trio.testing.wait_all_tasks_blocked()
    assert changed == [], "a check is no part of it"
    await client.put("agent/service/register", {"Name": "web", "Port": 81})
    await trio.testing.wait_all_tasks_blocked()
    assert changed[0].headers["x-consul-contenthash"] != digest
    changed.clear()
    digest = (await client.get("agent/service/web"))["ContentHash"]
    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    await client.put("agent/service/deregister/web")
    await trio.testing.wait_all_tasks_blocked()
    assert changed[0].status == 404


async def test_a_service_without_a_port_is_shown_with_port_0(node: FakeNode, client: Client) -> None:
    await client.put("agent/service/register", {"Name": "worker", "Check": {"TTL": "9s"}})
    await client.put("agent/check/pass/service:worker")
    [entry] = await (await elsewhere(node)).get("health/service/worker")
    assert (entry["Service"]["Port"], entry["Service"]["ID"]) == (0, "worker")


async def test_a_service_at_a_socket_file_is_shown_with_it_and_called_by_nothing(
    node: FakeNode, client: Client
) -> None:
    await client.put("agent/service/register", {"Name": "web", "SocketPath": "/run/web.sock"})
    [entry] = await (await elsewhere(node)).get("health/service/web")
    assert (entry["Service"]["Port"], entry["Service"]["SocketPath"]) == (0, "/run/web.sock")


def test_nothing_that_another_node_wrote_takes_the_place_of_what_is_known() -> None:
    told = {"Checks": {}, "Extra": {"ID": "other", "Address": 3, "Kind": "connect-proxy"}}
    row = service(Instance(id="i", service="s", host="10.0.0.1", port=1, meta={KEPT: json.dumps(told)}))
    assert (row["ID"], row["Address"], row["Kind"]) == ("i", "10.0.0.1", "connect-proxy")
