"""What a node offers and what it keeps on disk are the same, and a disk that fails stops nobody who serves."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gossipreg import Address, Node, StorageError, open_node
from gossipreg.runtime import life as module
from gossipreg.runtime.persistence import Store
from tests.runtime.nodes import PATIENCE, config


@attrs.define
class FakeKeeper:
    """A disk that is full, until it is not."""

    is_full: bool = True
    peers: trio.MemorySendChannel[list[Address]] | None = None

    async def put(self, instance_id: str, payload: bytes, *, term: object = None) -> None:
        await self._write()

    async def drop(self, instance_id: str, *, term: object = None) -> None:
        await self._write()

    async def set_peers(self, addresses: Iterable[Address]) -> None:
        await self._write()
        if self.peers is not None:
            self.peers.send_nowait(list(addresses))

    async def _write(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_full:
            raise StorageError("cannot use the data directory: disk full: free some space on its disk")


def keep_with(node: Node, keeper: FakeKeeper) -> None:
    stand_in: Any = keeper
    node._life.keeper = stand_in


async def test_what_was_acknowledged_is_on_disk_at_that_moment(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def after_a_crash_now(name: str) -> set[str]:
        """The ids that would come back."""
        shutil.copytree(data, tmp_path / name)
        with closing(Store.open(tmp_path / name)) as store:
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
        keeper = FakeKeeper()
        keep_with(node, keeper)
        with pytest.raises(StorageError):
            await node.register("orders", port=80, id="one", weight=9)
        with pytest.raises(StorageError):
            await node.register("orders", port=81, id="two")
        with pytest.raises(StorageError):
            await node.deregister("one")
        assert node.lookup("orders", healthy=False) == (before,)
        keeper.is_full = False
        await node.deregister("one")
        assert node.lookup("orders", healthy=False) == ()


async def test_peers_are_noted_when_they_change_and_a_full_disk_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PEERS_INTERVAL", 0.005)
    tell, noted = trio.open_memory_channel[list[Address]](10)
    keeper = FakeKeeper(peers=tell)
    stand_in: Any = keeper
    with trio.fail_after(PATIENCE):
        async with (
            open_node(config("ann")) as node,
            open_node(config("bob", node)) as peer,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(node._life.keep_peers, stand_in)
            while not caplog.messages:
                await trio.lowlevel.checkpoint()
            keeper.is_full = False
            assert await noted.receive() == [peer.address]
            nursery.cancel_scope.cancel()
    [sentence] = [message for message in caplog.messages if "disk" in message]
    assert sentence.startswith("the peers are not noted on disk: cannot use the data directory")
