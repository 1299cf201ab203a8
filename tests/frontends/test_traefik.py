"""Traefik is told of services, their servers' weights, and the routers that instances describe."""

from __future__ import annotations

import hashlib
import time
from typing import Any
from urllib.parse import quote

import pytest

from gossipreg.frontends.serving.access import Access, Token
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.frontends.traefik import create_api
from gossipreg.model import Health
from tests.frontends.serving.api_server import ApiClient, Said

TOKEN = "a-token-of-some-length"


@pytest.fixture
def client() -> ApiClient:
    return ApiClient(create_api())


async def ask(client: ApiClient, query: str = "", token: str | None = None) -> Said:
    return await client.ask("GET", f"/traefik/v1/config{query}", token=token)


async def http(client: ApiClient, query: str = "") -> dict[str, Any]:
    said = await ask(client, query)
    assert said.status == 200, said
    found: dict[str, Any] = said.document["http"]
    return found


async def test_a_service_is_its_servers_by_weight(client: ApiClient) -> None:
    client.hold("b", port=2)
    client.hold("a", port=1, weight=3)
    client.hold("c", port=3, weight=0)
    client.hold("d", port=4, health=Health.CRITICAL)
    client.hold("e", host="::1", port=5)
    assert await http(client) == {
        "services": {
            "orders": {
                "loadBalancer": {
                    "servers": [
                        {"url": "http://10.0.0.1:1", "weight": 3},
                        {"url": "http://10.0.0.1:2", "weight": 1},
                        {"url": "http://[::1]:5", "weight": 1},
                    ]
                }
            }
        }
    }


async def test_a_service_of_which_no_instance_can_be_called_stays_without_servers(client: ApiClient) -> None:
    client.hold("a", health=Health.CRITICAL, tags=["traefik.http.routers.shop.rule=Path(`/`)"])
    assert await http(client) == {
        "services": {"orders": {"loadBalancer": {"servers": []}}},
        "routers": {"shop": {"rule": "Path(`/`)", "service": "orders"}},
    }


async def test_without_services_it_is_empty(client: ApiClient) -> None:
    assert (await ask(client)).document == {}
    client.hold("a", tags=["traefik.enable=false"])
    assert (await ask(client)).document == {}


async def test_the_query_narrows_it(client: ApiClient) -> None:
    client.hold("a", port=1, tags=["v1"], zone="north")
    client.hold("b", port=2, tags=["v2"])
    client.hold("u", service="users")
    assert (await http(client)).keys() == {"services"}
    assert (await http(client))["services"].keys() == {"orders", "users"}
    assert (await http(client, "?service=users&service=none"))["services"].keys() == {"users"}
    for query in ("?tag=v1", "?zone=north"):
        services = (await http(client, query))["services"]
        assert [each["url"] for each in services["orders"]["loadBalancer"]["servers"]] == ["http://10.0.0.1:1"]
        assert services.keys() == {"orders"}


async def test_labels_describe_routers_and_the_service_in_tags_and_meta(client: ApiClient) -> None:
    client.hold(
        "a",
        tags=[
            "traefik.http.routers.shop.rule=Host(`shop.test`) && Query(`a=b`)",
            "traefik.http.routers.shop.entryPoints=web, websecure",
            "traefik.http.routers.shop.tls.certResolver=le",
            "traefik.http.services.orders.loadbalancer.server.scheme=https",
            "unrelated",
        ],
        meta={
            "traefik.http.routers.Admin.rule": "Path(`/admin`)",
            "traefik.http.routers.Admin.middlewares": "auth@file",
            "traefik.http.routers.Admin.priority": "7",
            "traefik.http.routers.Admin.tls": "true",
            "traefik.http.routers.Admin.service": "admin@file",
            "traefik.http.routers.none.priority": "1",
            "traefik.http.services.orders.loadbalancer.passHostHeader": "false",
            "traefik.http.services.orders.loadbalancer.serversTransport": "mine@file",
        },
    )
    assert await http(client) == {
        "services": {
            "orders": {
                "loadBalancer": {
                    "servers": [{"url": "https://10.0.0.1:80", "weight": 1}],
                    "passHostHeader": False,
                    "serversTransport": "mine@file",
                }
            }
        },
        "routers": {
            "Admin": {
                "rule": "Path(`/admin`)",
                "service": "admin@file",
                "middlewares": ["auth@file"],
                "priority": 7,
                "tls": {},
            },
            "shop": {
                "rule": "Host(`shop.test`) && Query(`a=b`)",
                "service": "orders",
                "entryPoints": ["web", "websecure"],
                "tls": {"certResolver": "le"},
            },
        },
    }


async def test_where_instances_differ_the_lowest_id_is_heard(client: ApiClient) -> None:
    client.hold("b", tags=["traefik.http.routers.shop.rule=Path(`/b`)", "traefik.http.routers.shop.priority=1"])
    client.hold("a", tags=["traefik.http.routers.shop.rule=Path(`/a`)"])
    assert (await http(client))["routers"] == {"shop": {"rule": "Path(`/a`)", "service": "orders", "priority": 1}}


async def test_a_rule_makes_routers_for_services_that_describe_none(client: ApiClient) -> None:
    client.hold("a")
    client.hold("u", service="users", tags=["traefik.http.routers.people.rule=Path(`/people`)"])
    client.hold("x", service="files", tags=["traefik.http.routers.data.priority=5"])
    assert (await http(client, f"?rule={quote('Host(`{service}.test`)')}"))["routers"] == {
        "orders": {"rule": "Host(`orders.test`)", "service": "orders"},
        "people": {"rule": "Path(`/people`)", "service": "users"},
        "data": {"rule": "Host(`files.test`)", "service": "files", "priority": 5},
    }


async def test_a_node_that_has_just_been_started_is_not_asked(client: ApiClient) -> None:
    client.node.generation = int(time.time() * 1000)
    said = await ask(client)
    assert (said.status, said.document) == (
        503,
        {"error": "this agent has just been started: it may not know all services yet", "code": "unavailable"},
    )


async def test_it_asks_for_a_token_where_the_agent_does(client: ApiClient) -> None:
    digest = hashlib.sha256(TOKEN.encode()).digest()
    client.access = Access((Token("traefik", digest, frozenset({Scope.READ})),))
    assert (await ask(client)).status == 401
    assert (await ask(client, token=TOKEN)).status == 200


@pytest.mark.parametrize(
    ("method", "target", "status", "sentence"),
    [
        ("GET", "/traefik/v1/config?services=a", 400, "there is no query parameter 'services'"),
        ("GET", "/traefik/v1/config?rule=Path", 400, "does not say where {service} stands in it"),
        ("GET", "/traefik/v1/config?tag=%ff", 400, "not UTF-8"),
        ("GET", "/traefik/v1/other", 404, "there is nothing at"),
        ("PUT", "/traefik/v1/config", 405, "is not for 'PUT': use GET, HEAD"),
    ],
)
async def test_what_is_not_understood_is_refused(
    method: str, target: str, status: int, sentence: str, client: ApiClient
) -> None:
    said = await client.ask(method, target)
    assert said.status == status
    assert sentence in said.document["error"]


async def test_a_rule_names_the_service_a_few_times_only(client: ApiClient) -> None:
    client.hold("a")
    assert (await ask(client, f"?rule={'{service}' * 16}")).status == 200
    said = await ask(client, f"?rule={'{service}' * 17}")
    assert said.status == 400
    assert "up to 16 times" in said.document["error"]


async def test_a_service_that_is_named_twice_is_looked_at_once(client: ApiClient) -> None:
    client.hold("a")
    once = await http(client, "?service=orders")
    before = client.node.lookups
    assert await http(client, "?service=orders" + "&service=orders" * 100) == once
    assert client.node.lookups - before == 2
