"""Nodes and services that no agent runs on: written, read everywhere, and removed."""

from __future__ import annotations

from typing import Any

import pytest

from gossipreg import open_node
from gossipreg.frontends.serving import settling
from gossipreg.model import NODE_SERVICE, Instance
from gossipreg.spec import InstanceSpec
from tests.drills.waiting import eventually
from tests.frontends.consul.client import Client
from tests.frontends.fake_node import FakeNode, member
from tests.runtime.nodes import config

PRINTER: dict[str, Any] = {
    "Node": "printer",
    "Address": "10.0.0.9",
    "NodeMeta": {"floor": "2"},
    "TaggedAddresses": {"wan": "198.18.0.9"},
    "Service": {
        "ID": "lpd-1",
        "Service": "lpd",
        "Port": 515,
        "Tags": ["a4"],
        "Meta": {"dpi": "600"},
        "Weights": {"Passing": 0, "Warning": 0},
    },
    "Checks": [
        {"CheckID": "printer:alive", "Name": "ping", "Status": "passing"},
        {"CheckID": "lpd:paper", "Name": "paper", "Status": "passing", "ServiceID": "lpd-1", "Notes": "n"},
    ],
}


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "SETTLE_SECONDS", 0.0)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
def client(node: FakeNode) -> Client:
    return Client(node)


async def write(client: Client, verb: str, **changed: Any) -> None:
    said = await client.ask("PUT", f"catalog/{verb}", changed)
    assert (said.status, said.body) == (200, b"true"), said


async def test_a_node_without_an_agent_is_read_like_any_other(client: Client) -> None:
    await write(client, "register", **PRINTER)
    assert [each["Node"] for each in await client.get("catalog/nodes")] == ["alpha", "printer"]
    assert [each["Node"] for each in await client.get("catalog/nodes?node-meta=floor:2")] == ["printer"]
    there = await client.get("catalog/node/printer")
    assert (there["Node"]["Address"], there["Node"]["Meta"]) == ("10.0.0.9", {"floor": "2"})
    assert there["Node"]["TaggedAddresses"] == {"wan": "198.18.0.9"}
    assert list(there["Services"]) == ["lpd-1"]
    [entry] = await client.get("health/service/lpd?passing&node-meta=floor:2")
    assert (entry["Node"]["Node"], entry["Service"]["ID"], entry["Service"]["Address"]) == ("printer", "lpd-1", "")
    assert (entry["Service"]["Port"], entry["Service"]["Meta"]) == (515, {"dpi": "600"})
    assert [(each["CheckID"], each["ServiceID"], each["Node"]) for each in entry["Checks"]] == [
        ("printer:alive", "", "printer"),
        ("lpd:paper", "lpd-1", "printer"),
    ]
    assert entry["Service"]["Weights"] == {"Passing": 1, "Warning": 1}, "clients in Go write zeros for none"
    [row] = await client.get("catalog/service/lpd")
    assert (row["Node"], row["ServiceID"], row["Address"]) == ("printer", "lpd-1", "10.0.0.9")
    assert [each["CheckID"] for each in await client.get("health/node/printer")] == ["printer:alive", "lpd:paper"]
    assert {each["Node"] for each in await client.get("health/state/passing")} == {"alpha", "printer"}
    assert await client.get("agent/services") == await client.get("agent/checks") == {}
    assert await client.get("catalog/node/printer?filter=Service == other") == {**there, "Services": {}}


async def test_the_state_that_is_written_last_counts(node: FakeNode, client: Client) -> None:
    await write(client, "register", **PRINTER)
    await write(
        client,
        "register",
        Node="printer",
        SkipNodeUpdate=True,
        Check={"CheckID": "lpd:paper", "Status": "critical", "Output": "none left", "ServiceID": "lpd-1"},
    )
    assert await client.get("health/service/lpd?passing") == []
    [entry] = await client.get("health/service/lpd")
    assert [(each["Status"], each["Output"]) for each in entry["Checks"]] == [
        ("passing", ""),
        ("critical", "none left"),
    ]
    assert entry["Node"]["Meta"] == {"floor": "2"}
    [check] = node.checked["printer/lpd-1"]
    assert str(check.initial) == "critical", "so other frontends do not call it either"
    await write(client, "deregister", Node="printer", CheckID="lpd:paper")
    assert len(await client.get("health/service/lpd?passing")) == 1
    alive = {"CheckID": "printer:alive", "Status": "critical"}
    await write(client, "register", Node="printer", Address="10.0.0.9", Check=alive)
    assert [str(each.initial) for each in node.checked["printer/lpd-1"]] == ["critical"]


async def test_only_what_changes_is_written(node: FakeNode, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str | None] = []
    register_spec = FakeNode.register_spec

    async def counted(fake: FakeNode, spec: InstanceSpec) -> Instance:
        written.append(spec.id)
        return await register_spec(fake, spec)

    async def writes(verb: str, **changed: Any) -> list[str | None]:
        written.clear()
        await write(client, verb, **changed)
        return sorted(written, key=str)

    monkeypatch.setattr(FakeNode, "register_spec", counted)
    there = {key: value for key, value in PRINTER.items() if key != "Service"}
    await write(client, "register", **PRINTER)
    for id_ in ("lpd-0", "lpd-2"):
        await write(client, "register", **there, Service={"ID": id_, "Service": "lpd", "Port": 515})
    scan = {"ID": "scan-1", "Service": "scan", "Port": 80}
    assert await writes("register", **there, Service=scan) == ["printer/lpd-1", "printer/scan-1"], "it has a check"
    of_scan = {"CheckID": "scan:lid", "Status": "critical", "ServiceID": "scan-1"}
    assert await writes("register", Node="printer", SkipNodeUpdate=True, Check=of_scan) == ["printer/scan-1"]
    assert await writes("deregister", Node="printer", CheckID="scan:lid") == ["printer/scan-1"]
    all_services = [f"printer/lpd-{number}" for number in range(3)] + ["printer/scan-1"]
    moved = there | {"Address": "10.0.0.10"}
    record = f"{NODE_SERVICE}/printer"
    assert await writes("register", **{**moved, "Checks": []}) == sorted([record, *all_services])
    of_node = {"CheckID": "printer:alive", "Status": "critical"}
    assert await writes("register", **{**moved, "Checks": [of_node]}) == sorted([record, *all_services])
    assert await writes("deregister", Node="printer", CheckID="printer:alive") == sorted([record, *all_services])


async def test_what_was_written_is_removed_piece_by_piece(node: FakeNode, client: Client) -> None:
    await write(client, "register", **PRINTER)
    await write(client, "deregister", Node="printer", ServiceID="lpd-1")
    assert await client.get("health/service/lpd") == []
    assert [each["CheckID"] for each in await client.get("health/node/printer")] == ["printer:alive"]
    await write(client, "deregister", Node="printer", CheckID="printer:alive")
    assert await client.get("health/node/printer") == []
    await write(client, "register", **PRINTER)
    await write(client, "deregister", Node="printer")
    assert await client.get("catalog/node/printer") is None
    assert await client.get("catalog/services") == {}
    await write(client, "deregister", Node="printer")


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("register", {}, 400),
        ("register", {"Node": "x"}, 400),
        ("register", {"Node": "x", "Address": "not an address"}, 400),
        ("register", {"Node": "x", "Address": "0.0.0.0"}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Service": {"Port": 1}}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Check": {"Status": "passing"}}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Check": {"Name": "a", "Status": "fine"}}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Check": {"Name": "a", "ServiceID": "none"}}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Datacenter": "elsewhere"}, 500),
        ("register", {"Node": "x", "Address": "10.0.0.1", "NodeMeta": {"a.b": "c"}}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Checks": 3}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Checks": {"a": 1}}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Checks": [3]}, 400),
        ("register", {"Node": "x", "Address": "10.0.0.1", "Service": "web"}, 400),
        ("register", {"Node": "x y", "Address": "10.0.0.1"}, 400),
        ("register", {"Node": "beta", "Address": "10.0.0.1"}, 409),
        ("register", {"Node": "alpha", "Check": {"Name": "a"}}, 400),
        ("deregister", {}, 400),
        ("deregister", {"Node": "beta"}, 409),
    ],
)
async def test_what_cannot_be_written_is_refused(
    node: FakeNode, client: Client, verb: str, body: object, status: int
) -> None:
    node.see("joined", member("beta", 7941))
    said = await client.ask("PUT", f"catalog/{verb}", body)
    assert said.status == status, said
    assert not node.services()


async def test_services_may_be_written_before_their_node(node: FakeNode, client: Client) -> None:
    await write(client, "register", Node="printer", SkipNodeUpdate=True, Service=PRINTER["Service"])
    assert (await client.get("catalog/node/printer"))["Node"]["Address"] == ""
    await write(
        client, "register", **{key: value for key, value in PRINTER.items() if key != "Service"} | {"Checks": []}
    )
    assert (await client.get("catalog/node/printer"))["Node"]["Address"] == "10.0.0.9"
    [lpd] = node.lookup("lpd")
    assert lpd.host == "10.0.0.9"


async def test_another_agent_shows_it_and_names_the_one_that_has_it() -> None:
    async with open_node(config("one")) as one, open_node(config("other", one)) as other:
        await write(Client(one), "register", **PRINTER)
        client = Client(other)

        async def check_it_is_known() -> None:
            assert [each["Node"]["Node"] for each in await client.get("health/service/lpd?passing")] == ["printer"]
            assert [each["Node"] for each in await client.get("catalog/nodes")] == ["one", "other", "printer"]

        await eventually(check_it_is_known)
        for verb in ("register", "deregister"):
            said = await client.ask("PUT", f"catalog/{verb}", PRINTER)
            assert (said.status, "at the agent one" in said.text) == (409, True)
