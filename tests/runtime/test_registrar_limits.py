"""What a registrar does when limits are reached or the host is renumbered while its changes wait for the disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from gossipreg import Check, Health, InvalidInstance, Node, NodeClosed, RecordTooLarge, limits, open_node
from gossipreg.counters import Count
from gossipreg.model import Address
from tests.runtime.nodes import PATIENCE, config
from tests.runtime.test_registrar import Disk, after_a_crash, disk, registrar_of, registration

__all__ = ["disk"]  # the fixture

NEW = "127.0.0.9"


def hosts(node: Node) -> dict[str, str]:
    return {each.id: each.host for name in node.services() for each in node.lookup(name, healthy=False)}


# Moves


async def test_what_is_being_registered_during_a_move_is_at_the_new_address(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path / "data")) as node:
        registrar = registrar_of(node)
        await node.register("orders", id="old", port=80)
        await node.register("orders", id="far", host="10.9.8.7", port=80)
        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(node.register, "orders", id="a", port=80))
                await disk.writing.wait()
                # It waits for "a", so that it does not hold "b" yet.
                both = [registration(node, "a", port=81), registration(node, "b")]
                nursery.start_soon(registrar.register_many, both)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(registrar.move, Address(NEW, node.address.port))
                await trio.testing.wait_all_tasks_blocked()
                assert node.address.host == NEW
                disk.let_go()
        assert hosts(node) == {"old": NEW, "far": "10.9.8.7", "a": NEW, "b": NEW}
        assert not len(registrar._locks)
        saved = after_a_crash(tmp_path / "data", tmp_path / "copy")
        assert sum(NEW.encode() in body for body in saved.instances.values()) == 3


async def test_a_move_is_one_write_however_many_move(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await registrar_of(node).register_many([registration(node, f"o-{n}") for n in range(50)])
        disk.writes.clear()
        await registrar_of(node).move(Address(NEW, node.address.port))
        assert [len(instances) for instances, _ in disk.writes] == [50]
        assert set(hosts(node).values()) == {NEW}


async def test_a_move_ends_with_its_node(tmp_path: Path, disk: Disk) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:

        async def refused() -> None:
            with pytest.raises(NodeClosed):
                await node.register("orders", id="a", port=80)

        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(refused)
                await disk.writing.wait()
                nursery.start_soon(registrar_of(node).move, Address(NEW, node.address.port))
                await trio.testing.wait_all_tasks_blocked()
                node._context.close()
                disk.let_go()


# Limits


async def test_checks_that_others_have_added_meanwhile_count(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CHECKS_PER_NODE_MAX", 1)
    refused: list[str] = []
    async with open_node(config("ann", data_dir=tmp_path / "data")) as node:

        async def register(id_: str) -> None:
            try:
                await node.register("orders", id=id_, port=80, checks=[Check(ttl=60.0)])
            except InvalidInstance as error:
                refused.append(f"{id_}: {error}")

        disk.hold()
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for id_ in ("a", "b"):
                    nursery.start_soon(register, id_)
                await trio.testing.wait_all_tasks_blocked()
                disk.let_go()
        [sentence] = refused
        assert "checks: this node would run 2, 1 are allowed" in sentence
        assert len(node.checks()) == 1
        assert set(after_a_crash(tmp_path / "data", tmp_path / "copy").instances) == set(hosts(node))


async def test_room_for_the_reason_is_asked_for_before_anything_is_written(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        size = len(registration(node, "a").payload)
        with monkeypatch.context() as patch:
            patch.setattr(limits, "RECORDS_BYTES_PER_OWNER_MAX", size + 100)
            with pytest.raises(RecordTooLarge, match=r"with it the records of this node may take \d+ bytes together"):
                await node.register("orders", id="a", port=80, checks=[Check(ttl=60.0)])
            assert disk.writes == []
            await node.register("orders", id="a", port=80)
        meta = {"one": "x" * (limits.RECORD_BYTES_MAX - 300)}
        await node.register("orders", id="large", port=80, meta=meta)
        disk.writes.clear()
        with pytest.raises(RecordTooLarge, match=r"its record may have \d+ bytes in maintenance, 65536 are allowed"):
            await node.set_maintenance("large", "new disk " * 10)
        assert disk.writes == []
        assert [each.id for each in node.lookup("orders")] == ["a", "large"]


async def test_a_check_that_fails_without_room_to_say_so_drains_its_instance_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann")) as node:
        check = Check(ttl=60.0, initial="passing")
        await node.register("orders", id="a", port=80, checks=[check])
        monkeypatch.setattr(limits, "RECORDS_BYTES_PER_OWNER_MAX", len(registration(node, "a").payload))
        await node.heartbeat("a", health=Health.CRITICAL, note="disk full")
        [drained] = node.lookup("orders")
        assert drained.weight == 0
        assert "instance a is drained, as it cannot be said how it is" in caplog.text
        await node.heartbeat("a")
        assert node.lookup("orders")[0].weight == 1
        assert node.counters[Count.TASKS_FAILED] == 0


# After a restart


async def test_a_row_for_which_there_is_no_room_today_stays_for_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await registrar_of(node).register_many([registration(node, each) for each in ("a", "b")])
    with monkeypatch.context() as patch:
        patch.setattr(limits, "RECORDS_PER_OWNER_MAX", 1)
        async with open_node(config("ann", data_dir=tmp_path)) as node:
            assert len(node.lookup("orders")) == 1
    assert "instance b is not registered for now, and is tried at the next start: " in caplog.text
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert [each.id for each in node.lookup("orders")] == ["a", "b"]
