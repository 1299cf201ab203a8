"""An instance looks in Eureka like one that a client of Eureka's posted, and is UP only if lookups return it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg.frontends.eureka.instance_document import (
    has_ended,
    info_of,
    kept_of,
    override_of,
    reason_of,
    status_of,
)
from gossipreg.frontends.eureka.instance_info import InstanceInfo
from gossipreg.model import FENCED, Health, Instance


def kept(status: str) -> InstanceInfo:
    """What is kept of a post that said so."""
    return InstanceInfo(id="orders-1", host_name="h", app="ORDERS", address="127.0.0.1", status=status)


def tree_of(instance: Instance, status: str) -> Any:
    """The instance as it is printed in JSON."""
    return info_of(instance, kept_of(instance), status).tree("overriddenStatus")


ORDERS = Instance(id="orders-1", service="orders", host="127.0.0.1", port=8080, owner="alpha")


def test_an_instance_that_was_registered_otherwise_is_shown_whole() -> None:
    instance = attrs.evolve(ORDERS, weight=5, zone="eu-1", role="replica", tags=("v1",), meta={"team": "a"})
    shown: Any = tree_of(instance, "UP")
    assert shown["app"] == "ORDERS"
    assert shown["instanceId"] == "orders-1"
    assert shown["hostName"] == shown["ipAddr"] == "127.0.0.1"
    assert shown["port"] == {"$": 8080, "@enabled": "true"}
    assert shown["securePort"] == {"$": 7002, "@enabled": "false"}
    assert shown["vipAddress"] == "orders"
    assert shown["metadata"] == {"weight": "5", "zone": "eu-1", "role": "replica", "tags": "v1", "team": "a"}
    assert shown["overriddenStatus"] == "UNKNOWN"


@pytest.mark.parametrize(
    ("health", "healthy", "weight", "said", "status"),
    [
        (Health.PASSING, True, 1, None, "UP"),
        (Health.WARNING, True, 1, None, "UP"),
        (Health.PASSING, True, 0, None, "OUT_OF_SERVICE"),
        (Health.PASSING, False, 1, None, "OUT_OF_SERVICE"),
        (Health.CRITICAL, False, 1, None, "DOWN"),
        (Health.CRITICAL, False, 1, "UP", "DOWN"),
        (Health.CRITICAL, False, 1, "STARTING", "STARTING"),
        (Health.CRITICAL, False, 1, "OUT_OF_SERVICE", "OUT_OF_SERVICE"),
        (Health.MAINTENANCE, False, 1, "UP", "OUT_OF_SERVICE"),
    ],
)
def test_its_status_says_whether_it_is_to_be_called(
    health: Health, healthy: bool, weight: int, said: str | None, status: str
) -> None:
    posted = None if said is None else kept(said)
    assert status_of(attrs.evolve(ORDERS, health=health, weight=weight), posted, healthy=healthy) == status


def test_an_override_is_the_status_that_it_was_set_to() -> None:
    out = attrs.evolve(ORDERS, health=Health.MAINTENANCE)
    assert override_of(attrs.evolve(out, reason=reason_of("DOWN"))) == "DOWN"
    assert override_of(attrs.evolve(out, reason="new disk")) == "OUT_OF_SERVICE"
    assert override_of(ORDERS) == "UNKNOWN"


def test_a_lease_is_over_when_the_node_that_held_it_has_failed() -> None:
    posted = kept("UP")
    lost = attrs.evolve(ORDERS, health=Health.CRITICAL, stale=True)
    assert has_ended(lost, posted)
    assert not has_ended(lost, None), "it was registered in another way"
    assert not has_ended(attrs.evolve(lost, health=Health.PASSING), posted), "it is known from before a restart"
    assert not has_ended(attrs.evolve(lost, stale=False), posted), "its lease has lapsed, and may be renewed"


def test_a_superseded_primary_is_shown_as_such_whatever_its_meta_says() -> None:
    """Clients of Consul's write role and term into the meta, where they stay as they were written."""
    meta = {"role": "primary", "term": "1", "weight": "x"}
    fenced = Instance(
        id="pg-1", service="pg", host="10.0.0.1", port=1, role=FENCED, term=1, meta=meta, owner="n", weight=2
    )
    tree: Any = tree_of(fenced, "UP")
    assert tree["metadata"] == {"role": FENCED, "term": "1", "weight": "x"}
