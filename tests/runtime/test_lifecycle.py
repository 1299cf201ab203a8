"""What a node registers and what it stores are the same, and a disk that fails stops no node."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import Address, Health, Node, StorageError, open_node
from gossipreg.runtime import state_writer as module
from gossipreg.runtime.state_store import Rows, StateStore
from gossipreg.runtime.state_writer import StateWriter
from tests.runtime.nodes import PATIENCE, config


@attrs.define
class FakeStore:
    """A disk that is full, until it is not."""

    is_full: bool = True
    peers: trio.MemorySendChannel[list[Address]] | None = None

    async def put_instances(self, instances: Rows, terms: Rows) -> None:
        await self._write()

    async def set_peers(self, addresses: Iterable[Address]) -> None:
        await self._write()
        if self.peers is not None:
            self.peers.send_nowait(list(addresses))

    async def _write(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_full:
            raise StorageError("cannot use the data directory: disk full: free some space on its disk")


def keep_with(node: Node, store: object) -> None:
    stand_in: Any = store
    node._lifecycle.context.store = stand_in


async def test_what_was_acknowledged_is_on_disk_at_that_moment(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def after_a_crash_now(name: str) -> set[str]:
        """The ids that would come back."""
        shutil.copytree(data, tmp_path / name)
        with closing(StateStore.open(tmp_path / name)) as store:
            return set(store.load().instances)

    async with open_node(config("ann", data_dir=data)) as node:
        await node.register("orders", port=80, id="kept")
        await node.register("orders", port=81, id="dropped")
        assert after_a_crash_now("one") == {"kept", "dropped"}
        await node.deregister("dropped")
        assert after_a_crash_now("two") == {"kept"}
    assert after_a_crash_now("three") == {"kept"}, "leaving is no deregistration: it comes back with it"


async def test_what_could_not_be_stored_did_not_happen() -> None:
    async with open_node(config("ann")) as node:
        before = await node.register("orders", port=80, id="one")
        store = FakeStore()
        keep_with(node, store)
        with pytest.raises(StorageError):
            await node.register("orders", port=80, id="one", weight=9)
        with pytest.raises(StorageError):
            await node.register("orders", port=81, id="two")
        with pytest.raises(StorageError):
            await node.deregister("one")
        assert node.lookup("orders", healthy=False) == (before,)
        store.is_full = False
        await node.deregister("one")
        assert node.lookup("orders", healthy=False) == ()


@attrs.define
class SlowKeeper:
    """A disk whose writes about one instance last until they are let go."""

    held: str
    on_disk: set[str] = attrs.field(factory=set)
    writing: trio.Event = attrs.field(factory=trio.Event)
    go_on: trio.Event = attrs.field(factory=trio.Event)

    async def put_instances(self, instances: Rows, terms: Rows) -> None:
        for instance_id in instances:
            await self._write(instance_id)
        self.on_disk -= instances.keys()
        self.on_disk |= {instance_id for instance_id, body in instances.items() if body is not None}

    async def _write(self, instance_id: str) -> None:
        await trio.lowlevel.checkpoint()
        if instance_id == self.held:
            self.writing.set()
            await self.go_on.wait()


async def test_what_is_withdrawn_while_a_host_is_renumbered_stays_withdrawn() -> None:
    # Chaos, seed 20261130, phase 8: moving one instance after the other offered again what was withdrawn meanwhile.
    async with open_node(config("ann")) as node:
        for id_ in ("first", "later", "kept"):
            await node.register("orders", port=80, id=id_)
        store = SlowKeeper("first")
        keep_with(node, store)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(node._lifecycle.registrar.move, Address("127.0.0.2", node.address.port))
                await store.writing.wait()
                nursery.start_soon(node.deregister, "later")
                await trio.testing.wait_all_tasks_blocked()
                store.go_on.set()
        assert {each.id: each.host for each in node.lookup("orders")} == {"first": "127.0.0.2", "kept": "127.0.0.2"}
        assert store.on_disk == {"first", "kept"}


async def test_what_is_said_of_one_instance_counts_in_the_order_in_which_it_was_said() -> None:
    async with open_node(config("ann")) as node:
        await node.register("orders", port=80, id="one")
        store = SlowKeeper("one")
        keep_with(node, store)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(node.register, "orders", port=80, id="one", weight=9))
                await store.writing.wait()
                nursery.start_soon(node.set_maintenance, "one", "new disk")
                await trio.testing.wait_all_tasks_blocked()
                store.go_on.set()
        [shown] = node.lookup("orders", healthy=False)
        assert (shown.weight, shown.health, shown.reason) == (9, Health.MAINTENANCE, "new disk")


async def test_what_is_registered_and_then_withdrawn_while_it_is_written_is_gone_here_and_on_disk() -> None:
    async with open_node(config("ann")) as node:
        store = SlowKeeper("one")
        keep_with(node, store)
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(node.register, "pg", port=80, id="one", role="primary", term=3))
                await store.writing.wait()
                nursery.start_soon(node.deregister, "one")
                await trio.testing.wait_all_tasks_blocked()
                store.go_on.set()
        assert node.lookup("pg", healthy=False) == ()
        assert store.on_disk == set()
        assert not len(node._lifecycle.registrar._locks)


async def test_peers_are_noted_when_they_change_and_a_full_disk_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PEERS_INTERVAL", 0.005)
    tell, noted = trio.open_memory_channel[list[Address]](10)
    store = FakeStore(peers=tell)
    stand_in: Any = store
    with trio.fail_after(PATIENCE):
        async with (
            open_node(config("ann")) as node,
            open_node(config("bob", node)) as peer,
            trio.open_nursery() as nursery,
        ):
            writer = StateWriter(node._lifecycle.context, node._lifecycle.registrar.monitor, stand_in, lambda _: True)
            nursery.start_soon(writer.keep_peers_stored)
            while not caplog.messages:
                await trio.lowlevel.checkpoint()
            store.is_full = False
            assert await noted.receive() == [peer.address]
            nursery.cancel_scope.cancel()
    [sentence] = [message for message in caplog.messages if "disk" in message]
    assert sentence.startswith("the peers are not stored on disk: cannot use the data directory")
