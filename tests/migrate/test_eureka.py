"""An instance of Eureka is read as it is shown, and written so that it is shown the same."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from gossipreg.migrate.endpoint import Endpoint
from gossipreg.migrate.eureka import EurekaRegistry
from gossipreg.migrate.registry import MARK, RegistryUnreachable

SHOWN: dict[str, Any] = {
    "instanceId": "h:orders:8080",
    "hostName": "h",
    "app": "ORDERS",
    "ipAddr": "10.0.0.5",
    "status": "UP",
    "overriddenStatus": "UNKNOWN",
    "port": {"$": 8080, "@enabled": "true"},
    "securePort": {"$": 7002, "@enabled": "false"},
    "countryId": 1,
    "dataCenterInfo": {"@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo", "name": "MyOwn"},
    "leaseInfo": {
        "renewalIntervalInSecs": 10,
        "durationInSecs": 40,
        "registrationTimestamp": 1,
        "evictionTimestamp": 0,
    },
    "metadata": {"team": "a", "weight": "3"},
    "vipAddress": "orders",
    "isCoordinatingDiscoveryServer": "false",
    "lastUpdatedTimestamp": "1",
    "lastDirtyTimestamp": "1",
    "actionType": "ADDED",
}


@attrs.define(eq=False, slots=False)
class Answers:
    """In place of an endpoint: a list that it shows, and what it is sent."""

    shown: list[dict[str, Any]] = attrs.field(factory=list)
    sent: list[tuple[str, str, Any]] = attrs.field(factory=list)
    status: int = 204
    place: str = "http://h:8761/eureka"

    def get(self, path: str) -> Any:
        assert path == "/apps"
        return {"applications": {"application": [{"name": each["app"], "instance": [each]} for each in self.shown]}}

    def send(self, method: str, path: str, body: Any = None) -> int:
        self.sent.append((method, path, body))
        return self.status


@pytest.fixture
def answers() -> Answers:
    return Answers([SHOWN])


@pytest.fixture
def registry(answers: Answers) -> EurekaRegistry:
    return EurekaRegistry(answers)  # type: ignore[arg-type]


def test_it_is_read_with_all_that_is_copied(registry: EurekaRegistry) -> None:
    [found] = registry.instances()
    assert (found.service, found.id, found.place) == ("ORDERS", "h:orders:8080", ("ORDERS", "10.0.0.5", 8080))
    assert (found.health, found.origin) == ("passing", "")
    assert "lastDirtyTimestamp" not in found.record, "the time of an original is not that of its copy"


@pytest.mark.parametrize(
    ("fields", "port", "health"),
    [
        ({"status": "OUT_OF_SERVICE"}, 8080, "maintenance"),
        ({"status": "DOWN"}, 8080, "critical"),
        ({"port": {"$": 0, "@enabled": "false"}, "securePort": {"$": 8443, "@enabled": "true"}}, 8443, "passing"),
    ],
)
def test_port_and_health_are_those_that_callers_see(
    answers: Answers, registry: EurekaRegistry, fields: dict[str, Any], port: int, health: str
) -> None:
    answers.shown = [SHOWN | fields]
    [found] = registry.instances()
    assert (found.port, found.health) == (port, health)


def test_a_copy_is_posted_with_its_mark_and_a_lease_that_lasts(answers: Answers, registry: EurekaRegistry) -> None:
    [found] = registry.instances()
    registry.write(found, found.mark("eureka"), 60)
    registry.write(found, found.mark("eureka"), None)
    [(method, path, first), (_, _, second)] = answers.sent
    assert (method, path) == ("POST", "/apps/ORDERS")
    assert first["instance"]["metadata"] == {"team": "a", "weight": "3", MARK: found.mark("eureka")}
    assert first["instance"]["leaseInfo"]["durationInSecs"] == 60
    assert second["instance"]["leaseInfo"]["durationInSecs"] == 86_400
    assert json.dumps(found.record).find(MARK) == -1
    answers.shown = [SHOWN | {"metadata": first["instance"]["metadata"]}]
    [copy] = registry.instances()
    assert (copy.origin, copy.copied_digest, copy.record) == ("eureka", found.digest, found.record)


def test_it_is_renewed_and_removed_at_its_path(answers: Answers, registry: EurekaRegistry) -> None:
    answers.shown = [SHOWN | {"instanceId": "ns/app 1"}]
    [found] = registry.instances()
    assert registry.renew(found, 30)
    assert registry.holds(found)
    assert registry.remove(found)
    assert [each[:2] for each in answers.sent] == [
        ("PUT", "/apps/ORDERS/ns%2Fapp%201"),
        ("DELETE", "/apps/ORDERS/ns%2Fapp%201"),
    ]
    answers.status = 404
    assert not registry.renew(found, 30)
    assert not registry.remove(found)


def test_a_renewal_changes_nothing_of_its_digest(answers: Answers, registry: EurekaRegistry) -> None:
    [before] = registry.instances()
    lease = SHOWN["leaseInfo"] | {"registrationTimestamp": 99}
    answers.shown = [SHOWN | {"leaseInfo": lease, "lastUpdatedTimestamp": "99", "actionType": "MODIFIED"}]
    [after] = registry.instances()
    assert after.digest == before.digest
    answers.shown = [SHOWN | {"status": "DOWN"}]
    assert registry.instances()[0].digest != before.digest


@pytest.mark.parametrize("odd", [{"hostName": 1}, None, "x", {"app": "A", "hostName": "h", "port": {"$": "x"}}])
def test_an_answer_of_another_form_is_no_eurekas(registry: EurekaRegistry, answers: Answers, odd: Any) -> None:
    def get(_: str) -> Any:
        return {"applications": {"application": [{"name": "A", "instance": [odd]}]}}

    answers.get = get  # type: ignore[method-assign, assignment]
    with pytest.raises(RegistryUnreachable, match="does not answer as a Eureka does"):
        registry.instances()


def test_an_instance_without_an_id_has_its_host_name(answers: Answers, registry: EurekaRegistry) -> None:
    answers.shown = [{key: value for key, value in SHOWN.items() if key != "instanceId"}]
    assert registry.instances()[0].id == "h"
    assert Endpoint.at("h", default_port=8761).place == "http://h:8761"
