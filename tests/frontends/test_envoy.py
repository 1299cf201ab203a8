"""Envoy's polls are answered with endpoints by zone and weight, and only when there is something new."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from gossipreg.errors import NodeClosed
from gossipreg.frontends.envoy import api as envoy
from gossipreg.frontends.envoy import create_api
from gossipreg.frontends.envoy.api import TYPE, Envoy
from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Health
from tests.frontends.serving.api_server import ApiClient, Said

EDS = "/v3/discovery:endpoints"
TOKEN = "a-token-of-some-length"


@pytest.fixture
def client() -> ApiClient:
    return ApiClient(create_api())


async def poll(client: ApiClient, *names: str, version: str = "", zone: str = "", **wishes: Any) -> Said:
    node = {"id": "edge", "locality": {"zone": zone}, "metadata": {"gossipreg": wishes}}
    request = {"version_info": version, "resource_names": names, "node": node}
    return await client.ask("POST", EDS, json.dumps(request).encode())


def endpoints(said: Said) -> list[tuple[str, int, list[tuple[int, str, int]]]]:
    """Of the first cluster: zone, priority, and ports with health and weight."""
    assert said.status == 200, said
    return [
        (
            group["locality"]["zone"],
            group["priority"],
            [
                (
                    each["endpoint"]["address"]["socket_address"]["port_value"],
                    each["health_status"],
                    each["load_balancing_weight"],
                )
                for each in group["lb_endpoints"]
            ],
        )
        for group in said.document["resources"][0]["endpoints"]
    ]


async def test_a_cluster_is_the_service_of_its_name(client: ApiClient) -> None:
    client.hold("a", host="10.0.0.1", port=80, weight=3)
    said = await poll(client, "orders")
    assert said.document == {
        "version_info": said.document["version_info"],
        "type_url": TYPE,
        "resources": [
            {
                "@type": TYPE,
                "cluster_name": "orders",
                "endpoints": [
                    {
                        "locality": {"zone": ""},
                        "priority": 0,
                        "lb_endpoints": [
                            {
                                "endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}},
                                "health_status": "HEALTHY",
                                "load_balancing_weight": 3,
                            }
                        ],
                    }
                ],
            }
        ],
    }


async def test_those_that_can_be_called_are_given_and_drained_ones_as_draining(client: ApiClient) -> None:
    client.hold("a", port=1, health=Health.WARNING)
    client.hold("b", port=2, health=Health.CRITICAL)
    client.hold("c", port=3, health=Health.MAINTENANCE)
    client.hold("d", port=4, weight=0)
    client.hold("e", port=5, host="name.example.com")
    assert endpoints(await poll(client, "orders")) == [("", 0, [(1, "HEALTHY", 1), (4, "DRAINING", 1)])]


async def test_zones_are_localities_and_priorities_if_that_is_wanted(client: ApiClient) -> None:
    client.hold("a", port=1, zone="north")
    client.hold("b", port=2, zone="south")
    both = [("north", 0, [(1, "HEALTHY", 1)]), ("south", 0, [(2, "HEALTHY", 1)])]
    assert endpoints(await poll(client, "orders", zone="south")) == both
    mine = [("north", 1, [(1, "HEALTHY", 1)]), ("south", 0, [(2, "HEALTHY", 1)])]
    assert endpoints(await poll(client, "orders", zone="south", priority="zone")) == mine
    assert endpoints(await poll(client, "orders", zone="east", priority="zone")) == both


@pytest.mark.parametrize(
    ("name", "ports"),
    [
        ("orders", [1, 2]),
        ("orders|tag=v2", [2]),
        ("orders|zone=north", [1]),
        ("orders|role=primary|tag=v1", [1]),
        ("orders|role=primary|tag=v2", []),
        ("nothing", []),
    ],
)
async def test_a_cluster_may_be_narrowed_by_its_name(name: str, ports: list[int], client: ApiClient) -> None:
    client.hold("a", port=1, tags=["v1"], zone="north", role="primary")
    client.hold("b", port=2, tags=["v2"])
    said = await poll(client, name)
    assert said.document["resources"][0]["cluster_name"] == name
    assert sorted(port for _, _, group in endpoints(said) for port, _, _ in group) == ports


async def test_several_clusters_are_answered_in_one_and_none_in_an_empty_one(client: ApiClient) -> None:
    said = await poll(client, "orders", "users")
    assert [each["cluster_name"] for each in said.document["resources"]] == ["orders", "users"]
    assert (await poll(client)).document["resources"] == []


async def test_what_is_known_is_304_until_it_changes(client: ApiClient) -> None:
    client.hold("a")
    version = (await poll(client, "orders")).document["version_info"]
    assert await poll(client, "orders", version=version) == Said(304, None, ())
    client.hold("other", service="users")
    assert (await poll(client, "orders", version=version)).status == 304
    client.hold("a", weight=2)
    changed = await poll(client, "orders", version=version)
    assert endpoints(changed) == [("", 0, [(80, "HEALTHY", 2)])]
    client.hold("a")
    assert (await poll(client, "orders", version=version)).status == 304


async def test_agents_that_know_the_same_give_the_same_version(client: ApiClient) -> None:
    other = ApiClient(create_api())
    for each in (client, other):
        each.hold("a")
    other.hold("b", service="users")
    versions = {(await poll(each, "orders")).document["version_info"] for each in (client, other)}
    assert len(versions) == 1


async def test_a_poll_may_wait_for_a_change(
    client: ApiClient, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    client.hold("a")
    version = (await poll(client, "orders")).document["version_info"]

    async def change() -> None:
        await trio.sleep(3)
        client.hold("other", service="users")
        await trio.sleep(3)
        client.hold("a", weight=2)

    nursery.start_soon(change)
    for clusters in (["orders"], ["orders", "users|tag=none"]):
        started = trio.current_time()
        said = await poll(client, *clusters, version=version, wait=20)
        assert said.status == 200
        version = said.document["version_info"]
        if len(clusters) == 1:
            assert trio.current_time() - started == 6
    assert (await poll(client, "orders", "users|tag=none", version=version, wait=20)).status == 304
    assert trio.current_time() >= 26


async def test_a_poll_that_waits_for_a_node_that_closes_ends(client: ApiClient, autojump_clock: MockClock) -> None:
    client.hold("a")
    version = (await poll(client, "orders")).document["version_info"]
    client.node.close()
    with pytest.raises(NodeClosed):
        await poll(client, "orders", version=version, wait=20)


async def test_a_node_that_has_just_been_started_takes_nothing_back(client: ApiClient) -> None:
    client.node.generation = int(time.time() * 1000)
    client.hold("a")
    assert (await poll(client, "orders", version="of an earlier life")).status == 304
    first = await poll(client, "orders")
    assert first.status == 200
    client.hold("b")
    assert (await poll(client, "orders", version=first.document["version_info"])).status == 200
    client.node.generation -= 60_000
    assert (await poll(client, "orders", version="of an earlier life")).status == 200


async def test_a_token_may_come_in_the_metadata(client: ApiClient) -> None:
    digest = hashlib.sha256(TOKEN.encode()).digest()
    client.access = Access((Token("edge", digest, frozenset({Scope.READ})),))
    refused = await poll(client, "orders")
    assert (refused.status, refused.document["code"]) == (401, 16)
    assert refused.headers[0][0] == b"www-authenticate"
    assert (await poll(client, "orders", token=TOKEN)).status == 200


async def test_the_names_of_protobufs_own_json_are_understood(client: ApiClient) -> None:
    client.hold("a")
    body = json.dumps({"versionInfo": "", "resourceNames": ["orders"], "typeUrl": TYPE}).encode()
    assert endpoints(await client.ask("POST", EDS, body)) == [("", 0, [(80, "HEALTHY", 1)])]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body: '[]' is not an object"),
        (b'{"node": 1}', "node: '1' is not an object"),
        (b'{"node": {"locality": []}}', "node.locality: '[]' is not an object"),
        (b'{"node": {"metadata": {"gossipreg": 1}}}', "node.metadata.gossipreg: '1' is not an object"),
        (b'{"node": {"metadata": {"gossipreg": {"wait": 1e9}}}}', "node.metadata.gossipreg.wait: not a number"),
        (b'{"node": {"metadata": {"gossipreg": {"token": 1}}}}', "node.metadata.gossipreg.token: not a string"),
        (b'{"resource_names": "orders"}', "resource_names is a list"),
        (b'{"resource_names": [1]}', "resource_names: '1' is not a string"),
        (b'{"resource_names": ["a b"]}', "the cluster 'a b' is not SERVICE"),
        (b'{"resource_names": ["orders|tag"]}', "the cluster 'orders|tag' is not SERVICE"),
        (b'{"resource_names": ["orders|node=x"]}', "the cluster 'orders|node=x' is not SERVICE"),
        (b'{"type_url": "type.googleapis.com/other"}', "type_url: 'type.googleapis.com/other' is not served here"),
    ],
)
async def test_a_poll_that_cannot_be_read_is_refused_in_grpcs_form(
    body: bytes, sentence: str, client: ApiClient
) -> None:
    said = await client.ask("POST", EDS, body)
    assert (said.status, said.document["code"]) == (400, 3)
    assert sentence in said.document["message"]


@pytest.mark.parametrize(
    ("method", "target", "status", "code"), [("GET", EDS, 405, 12), ("POST", "/v3/discovery:clusters", 404, 5)]
)
async def test_there_is_nothing_else(method: str, target: str, status: int, code: int, client: ApiClient) -> None:
    said = await client.ask(method, target, b"{}")
    assert (said.status, said.document["code"]) == (status, code)


async def test_a_name_that_is_repeated_is_answered_once(client: ApiClient) -> None:
    client.hold("a")
    said = await poll(client, "orders", "orders", "orders")
    assert len(said.document["resources"]) == 1


async def test_a_cluster_is_narrowed_once_by_each_word(client: ApiClient) -> None:
    assert (await poll(client, "orders|tag=a|tag=a")).status == 400


async def test_what_one_answer_may_hold_is_bounded(client: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy, "ANSWER_BYTES_MAX", 1000)
    client.hold("a")
    client.hold("b", tags=("v2",))
    assert (await poll(client, "orders")).status == 200
    said = await poll(client, "orders", "orders|tag=v2", *[f"orders|zone=z{number}" for number in range(20)])
    assert said.status == 400
    assert "ask for fewer" in said.document["message"]


async def test_what_is_kept_for_clients_is_bounded_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(envoy, "KEPT_BYTES_MAX", 2000)
    asked = create_api()
    client = ApiClient(asked)
    client.hold("a", zone="north")
    for number in range(50):  # each zone that a client names has an answer of its own
        assert (await poll(client, "orders", zone=f"z{number}", priority="zone")).status == 200
    answers = asked.loaded
    assert isinstance(answers, Envoy)
    assert 0 < answers._kept.total <= 2000
    client.hold("a", zone="north", port=81)
    assert endpoints(await poll(client, "orders", zone="z49", priority="zone"))[0][2][0][0] == 81
    assert 0 < answers._kept.total <= 2000
