"""A Consul agent is listed, written to, renewed and cleaned up over its documented API."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from gossipreg.errors import ConfigError
from gossipreg.migrate.consul import ConsulRegistry
from gossipreg.migrate.endpoint import Endpoint
from gossipreg.migrate.registry import MARK, RegistryRefused, RegistryUnreachable
from tests.migrate.fake_consul import FakeConsul, serving

WEB: dict[str, Any] = {
    "ID": "web-1",
    "Name": "web",
    "Address": "10.0.0.5",
    "Port": 8080,
    "Tags": ["v1", "blue"],
    "Meta": {"team": "a"},
    "Weights": {"Passing": 5, "Warning": 2},
    "TaggedAddresses": {"wan": {"Address": "1.2.3.4", "Port": 80}},
    "Check": {"TTL": "10s", "Status": "passing"},
}


@pytest.fixture
def consul() -> FakeConsul:
    return FakeConsul()


@pytest.fixture
def url(consul: FakeConsul) -> Iterator[str]:
    with serving(consul) as url:
        yield url


@pytest.fixture
def registry(url: str) -> ConsulRegistry:
    return ConsulRegistry.at(Endpoint.at(url, default_port=8500))


def test_an_instance_is_listed_with_all_that_is_copied(consul: FakeConsul, registry: ConsulRegistry) -> None:
    consul.register(WEB)
    [found] = registry.instances()
    assert (registry.name, registry.node) == ("consul:dc1", "foobar")
    assert (found.service, found.id, found.place) == ("web", "web-1", ("web", "10.0.0.5", 8080))
    assert (found.health, found.reason, found.origin) == ("passing", "", "")
    assert found.record == {key: value for key, value in WEB.items() if key != "Check"} | {"EnableTagOverride": False}


def test_one_without_an_address_has_its_nodes_and_mesh_proxies_are_left_out(
    consul: FakeConsul, registry: ConsulRegistry
) -> None:
    consul.register({"Name": "web", "Port": 80})
    consul.register({"Name": "web-sidecar-proxy", "Port": 21000, "Kind": "connect-proxy"})
    assert [(each.id, each.host) for each in registry.instances()] == [("web", "10.1.10.12")]


@pytest.mark.parametrize(
    ("status", "health"),
    [("passing", "passing"), ("warning", "warning"), ("critical", "critical"), ("odd", "critical")],
)
def test_the_gravest_check_is_its_health(
    consul: FakeConsul, registry: ConsulRegistry, status: str, health: str
) -> None:
    consul.register(WEB | {"Checks": [{"CheckID": "other", "Status": status}]})
    consul.checks["web-1"]["other"]["Output"] = "500"
    [found] = registry.instances()
    assert (found.health, found.reason) == (health, "" if health == "passing" else "500")


def test_maintenance_is_its_health_with_the_reason(consul: FakeConsul, registry: ConsulRegistry) -> None:
    consul.register(WEB)
    consul.answer("PUT", "/v1/agent/service/maintenance/web-1?enable=true&reason=new%20disk", b"")
    [found] = registry.instances()
    assert (found.health, found.reason) == ("maintenance", "new disk")


@pytest.mark.parametrize("health", ["passing", "warning", "critical", "maintenance"])
@pytest.mark.parametrize("seconds", [30.0, None])
def test_a_copy_is_as_its_original_and_knows_where_it_is_from(
    consul: FakeConsul, registry: ConsulRegistry, health: str, seconds: float | None
) -> None:
    consul.register(
        WEB | {"Checks": [{"CheckID": "other", "Status": "passing" if health == "maintenance" else health}]}
    )
    if health == "maintenance":
        consul.answer("PUT", "/v1/agent/service/maintenance/web-1?enable=true&reason=disk", b"")
    [original] = registry.instances()
    target = FakeConsul()
    with serving(target) as url:
        there = ConsulRegistry.at(Endpoint.at(url, default_port=8500), "gossipreg:main")
        there.write(original, original.mark(registry.name), seconds)
        [copy] = there.instances()
        assert (copy.record, copy.health) == (original.record, health)
        assert (copy.origin, copy.copied_digest) == ("consul:dc1", original.digest)
        assert target.services["web-1"]["Meta"][MARK].startswith("consul:dc1#")
        assert there.renew(original, seconds)
        assert there.holds(copy)
        assert not there.holds(attrs.evolve(copy, node="other"))
        assert there.remove(copy)
        assert not there.remove(copy), "it is gone"
        assert there.instances() == []
        assert not there.renew(original, seconds)


def test_a_copy_follows_its_original_into_and_out_of_maintenance(consul: FakeConsul, registry: ConsulRegistry) -> None:
    consul.register(WEB)
    [original] = registry.instances()
    target = FakeConsul()
    with serving(target) as url:
        there = ConsulRegistry.at(Endpoint.at(url, default_port=8500), "gossipreg:main")
        there.write(original, original.mark(registry.name), 30)
        for enable, health in (("true", "maintenance"), ("false", "passing")):
            consul.answer("PUT", f"/v1/agent/service/maintenance/web-1?enable={enable}", b"")
            [now] = registry.instances()
            there.renew(now, 30)
            assert [each.health for each in there.instances()] == [health]


def test_a_service_without_a_leader_is_out_of_reach_and_not_empty(consul: FakeConsul, registry: ConsulRegistry) -> None:
    consul.is_away = True
    with pytest.raises(RegistryUnreachable, match="500: No cluster leader"):
        registry.instances()


@pytest.mark.parametrize("document", [None, [], {}, {"web": []}, [{"Service": None}], "x", 5])
def test_an_answer_of_another_form_is_no_consuls(registry: ConsulRegistry, document: Any) -> None:
    class Other(FakeConsul):
        def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
            return 200, {"web": []} if "catalog" in target else [document]

    with serving(Other()) as url:
        other = ConsulRegistry(Endpoint.at(url, default_port=8500), "x", "n")
        with pytest.raises(RegistryUnreachable, match="does not answer as a Consul does"):
            other.instances()
        with pytest.raises(RegistryUnreachable, match="does not answer as a Consul does"):
            ConsulRegistry.at(other.endpoint)


def test_two_nodes_may_each_have_an_original_of_one_id(consul: FakeConsul, registry: ConsulRegistry) -> None:
    consul.register(WEB)
    [row] = consul.answer("GET", "/v1/health/service/web", b"")[1]
    copy = {**row, "Service": {**row["Service"], "Meta": {MARK: "x#y"}}}

    class Two(FakeConsul):
        rows: tuple[Any, ...] = ()

        def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
            return 200, {"web": []} if "catalog" in target else list(self.rows)

    elsewhere = {**row, "Node": {**row["Node"], "Node": "other"}}
    two = Two()
    with serving(two) as url:
        there = ConsulRegistry(Endpoint.at(url, default_port=8500), "x", "n")
        two.rows = (row, elsewhere)
        assert [each.id for each in there.instances()] == ["foobar:web-1", "other:web-1"]
        two.rows = (copy, elsewhere)
        assert [each.id for each in there.instances()] == ["web-1", "web-1"], "its copy takes nothing from an id"


def test_an_address_without_a_server_and_one_without_a_registry_are_told_apart(url: str) -> None:
    with pytest.raises(RegistryUnreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        ConsulRegistry.at(Endpoint.at("127.0.0.1:1", default_port=8500))
    with pytest.raises(RegistryUnreachable, match="answered GET /v1/agent/self with 404"):
        ConsulRegistry.at(Endpoint.at(f"{url}/elsewhere", default_port=8500))


def test_a_refusal_is_one_instances() -> None:
    class Refusing(FakeConsul):
        def answer(self, method: str, target: str, body: bytes) -> tuple[int, Any]:
            return (400, "no  such\nname") if method == "PUT" else super().answer(method, target, body)

    source = FakeConsul()
    source.register(WEB)
    with serving(source) as one, serving(Refusing()) as two:
        [original] = ConsulRegistry.at(Endpoint.at(one, default_port=8500)).instances()
        with pytest.raises(RegistryRefused, match="400: no such name"):
            ConsulRegistry.at(Endpoint.at(two, default_port=8500)).write(original, "x#y", 30)


def test_a_token_and_a_password_are_sent_and_never_shown(consul: FakeConsul, url: str) -> None:
    ConsulRegistry.at(Endpoint.at(url, default_port=8500, token="s3cret"))
    with_password = Endpoint.at(url.replace("//", "//eureka:p%40ss@"), default_port=8500)
    ConsulRegistry.at(with_password)
    assert consul.tokens == ["Bearer s3cret", "Basic ZXVyZWthOnBAc3M="]
    assert "ss" not in repr(with_password) + with_password.place


@pytest.mark.parametrize("text", ["ftp://host", "http://", "http://h:port", "http://h?x=1", ""])
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--from: "):
        Endpoint.at(text, default_port=8500)
