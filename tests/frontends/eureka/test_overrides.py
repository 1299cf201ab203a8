"""Overrides are kept while their instance is there, or may yet be seen, and forgotten when it is long gone."""

from __future__ import annotations

import time

import attrs
import pytest

from gossipreg.errors import StorageError
from gossipreg.frontends.eureka.instance_document import reason_of
from gossipreg.frontends.eureka.leases import Leases
from gossipreg.frontends.eureka.overrides import Overrides
from gossipreg.model import Instance
from gossipreg.policy import Maintenance, Policy
from tests.frontends.eureka.posts import posted
from tests.frontends.fake_node import FakeNode

HERE = Instance(id="here", service="orders", host="127.0.0.1", port=8080, owner="beta")
GONE = attrs.evolve(HERE, id="gone")


@attrs.define(eq=False)
class Dated(FakeNode):
    """One that knows when its policies were set."""

    at: float = 0.0

    def policies(self) -> tuple[Policy, ...]:
        return tuple(attrs.evolve(policy, at=self.at) for policy in super().policies())


def out(id: str, reason: str) -> Maintenance:
    return Maintenance("orders", id, reason)


@pytest.mark.parametrize(("age", "kept"), [(7200, False), (60, True)])
async def test_an_old_override_of_an_instance_that_is_gone_is_forgotten_at_the_next(age: float, kept: bool) -> None:
    node = Dated(at=time.time() - age)
    node.hold(HERE)
    await Overrides(node).set(GONE, "OUT_OF_SERVICE")
    await Overrides(node).set(HERE, "OUT_OF_SERVICE")
    assert ("maintenance:orders:gone" in node.rules) is kept
    assert node.rules["maintenance:orders:here"] == out("here", reason_of("OUT_OF_SERVICE"))
    await Overrides(node).set(HERE, "DOWN")
    assert node.rules["maintenance:orders:here"] == out("here", reason_of("DOWN"))


async def test_an_operators_policy_outlives_its_instance() -> None:
    node = Dated(at=time.time() - 7200)
    node.hold(HERE)
    await node.set_policy(out("gone", "new disk"))
    await Overrides(node).set(HERE, "DOWN")
    assert "maintenance:orders:gone" in node.rules


async def test_lifting_what_is_not_set_is_nothing() -> None:
    node = Dated()
    await Overrides(node).lift("orders", "here")
    await Overrides(node).set(HERE, "UP")
    assert not node.rules


async def test_an_instance_is_gone_although_the_disk_refuses_to_lift_its_override(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Full(FakeNode):
        async def remove_policy(self, key: str) -> None:
            raise StorageError("free some space on its disk")

    node = Full()
    leases = Leases(node, Overrides(node))
    await leases.register(posted())
    [there] = node.lookup("orders", healthy=False)
    await leases.overrides.set(there, "OUT_OF_SERVICE")
    await leases.cancel("ORDERS", there.id)
    assert node.lookup("orders", healthy=False) == ()
    assert f"the override of {there.id} stays for now: free some space on its disk" in caplog.text
