"""Bound instances: what attached processes register is never on disk, and is not taken for what users registered."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipreg import Health, InvalidInstance
from gossipreg.runtime.bound_instances import BoundInstances
from gossipreg.runtime.opening import open_node
from gossipreg.runtime.state_store import StateStore
from gossipreg.spec import InstanceSpec
from tests.runtime.nodes import config


def spec(id_: str, **fields: object) -> InstanceSpec:
    return InstanceSpec(service="orders", port=80, id=id_, **fields)  # type: ignore[arg-type]


async def test_they_are_not_on_disk_nor_is_anything_of_them(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        bound = BoundInstances(node)
        await node.register_spec(spec("kept"))
        await bound.register_many([spec("bound", checks=[{"ttl": "30s"}])])
        await node.heartbeat("bound")
        await node.set_maintenance("bound", "why")
        await node.set_maintenance("bound", None)
        await node._lifecycle.state_writer.store_checks(quietly=False)  # type: ignore[union-attr]
        assert [each.id for each in node.lookup("orders")] == ["bound", "kept"]
    with closing(StateStore.open(tmp_path)) as store:
        saved = store.load()
    assert list(saved.instances) == ["kept"]
    assert not saved.checks


async def test_an_id_that_users_registered_is_not_theirs(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        bound = BoundInstances(node)
        await node.register_spec(spec("kept"))
        with pytest.raises(InvalidInstance, match="take another id"):
            await bound.register_many([spec("kept", weight=7)])
        await bound.withdraw(["kept"], lambda _: False)
        assert [(each.id, each.weight) for each in node.lookup("orders")] == [("kept", 1)]
        await bound.register_many([spec("mine")])
        await node.register_spec(spec("mine", weight=3))  # from then on it is the users'
        await bound.withdraw(["mine"], lambda _: False)
        assert [each.id for each in node.lookup("orders")] == ["kept", "mine"]


async def test_instances_of_a_silent_process_are_critical_until_it_answers() -> None:
    async with open_node(config("ann")) as node:
        bound = BoundInstances(node)
        await bound.register_many([spec("a"), spec("b", checks=[{"ttl": "30s", "initial": "critical"}])])
        assert bound.set_silence(["a", "b", "later"], "it does not answer")
        assert not bound.set_silence(["a", "b", "later"], "it does not answer")
        assert node.lookup("orders") == ()
        await bound.register_many([spec("a", weight=2), spec("later")])
        listed = {each.id: each for each in node.lookup("orders", healthy=False)}
        assert {each.health for each in listed.values()} == {Health.CRITICAL}
        assert listed["a"].reason == listed["later"].reason == "it does not answer"
        assert listed["b"].reason != "it does not answer", "a check says more"
        assert bound.set_silence(["a", "b", "later"], None)
        assert [each.id for each in node.lookup("orders")] == ["a", "later"]
        assert bound.shown(listed["a"]).health is Health.PASSING


async def test_what_users_register_follows_the_silence_of_no_process() -> None:
    async with open_node(config("ann")) as node:
        bound = BoundInstances(node)
        await bound.register_many([spec("a"), spec("b"), spec("c")])
        await node.register_spec(spec("a", weight=3))
        bound.set_silence(["a", "b", "c"], "it does not answer")
        assert [each.id for each in node.lookup("orders")] == ["a"]
        await node.register_spec(spec("b", weight=3))
        await node.deregister("c")
        await node.register_spec(spec("c", weight=3))
        assert [each.id for each in node.lookup("orders")] == ["a", "b", "c"]
        assert not any(map(bound.is_bound, ["a", "b", "c", "gone"]))
        await node.deregister("a")
        await bound.register_many([spec("a")])
        assert bound.is_bound("a")
        assert [each.id for each in node.lookup("orders")] == ["b", "c"], "it is the process's again"


async def test_an_id_that_a_user_is_just_registering_is_not_theirs(tmp_path: Path) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.register_spec, spec("mine", weight=3))
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(InvalidInstance, match="take another id"):
                await BoundInstances(node).register_many([spec("other"), spec("mine", weight=7)])
        assert [(each.id, each.weight) for each in node.lookup("orders")] == [("mine", 3)]


async def test_what_was_taken_meanwhile_is_not_withdrawn() -> None:
    async with open_node(config("ann")) as node:
        bound = BoundInstances(node)
        await bound.register_many([spec("a"), spec("b")])
        await bound.withdraw(["a", "b", "gone"], lambda id_: id_ == "a")
        assert [each.id for each in node.lookup("orders")] == ["a"]
        await trio.lowlevel.checkpoint()
