"""What a restart keeps: of a node with a data directory everything that users set, and of any node its indexes."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio

from gossipreg import Check, Health, Node, StorageError, open_node
from gossipreg.runtime import life as life_module
from gossipreg.runtime.persistence import Keeper, Store
from gossipreg.runtime.saved import Saved
from tests.runtime.nodes import PATIENCE, config

HOUR = 3600.0


def at_the_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on the wall clock shows ``seconds`` more than it does (fewer, below 0)."""
    time_ns, now = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: time_ns() + int(seconds * 1e9))
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def on_disk(directory: Path) -> Saved:
    with closing(Store.open(directory)) as store:
        return store.load()


async def joined(node: Node, *others: Node) -> None:
    with trio.fail_after(PATIENCE):
        while len(node.members()) <= len(others) or node.info().isolated:
            await node.wait_changed(None, node.index())


# Indexes


async def test_an_index_does_not_fall_when_the_clock_was_set_back_and_nothing_is_on_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_node(config("peer")) as peer:
        async with open_node(config("ann", peer)) as ann:
            for port in range(80, 110):
                await ann.register("orders", port=port)
            await joined(ann, peer)
            address = ann.address
            before = ann.index(), ann.index("orders"), ann.index("nobody offers this")
        at_the_time(monkeypatch, -HOUR)
        async with open_node(config("ann", peer, bind=str(address))) as ann:
            await ann.register("orders", port=80)
            with trio.fail_after(PATIENCE):
                while ann.info().generation <= before[0] // 1000:
                    await ann.wait_changed(None, ann.index())
            after = ann.index(), ann.index("orders"), ann.index("nobody offers this")
            assert all(later > earlier for earlier, later in zip(before, after, strict=True))


async def test_an_index_on_disk_is_ahead_of_all_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many changes a node sees within a life, and whatever its clock shows in the next."""
    monkeypatch.setattr(life_module, "_INDEXES_AHEAD", 100)
    monkeypatch.setattr(life_module, "_PEERS_INTERVAL", 0.001)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        for turn in range(3):
            for _ in range(60):
                await node.register("orders", port=80, meta={"turn": f"{turn} {_}"})
            highest = max(node.index(), node.index("orders"))
            with trio.fail_after(PATIENCE):
                while node._life._index_noted <= highest:  # noqa: ASYNC110 - what is on disk rings no bell
                    await trio.sleep(0.001)
            saved = await node._life.keeper.load()  # type: ignore[union-attr]
            assert saved.index > highest
    at_the_time(monkeypatch, -HOUR)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert min(node.index(), node.index("orders"), node.index("nobody offers this")) > highest


async def test_a_disk_that_is_full_at_the_start_is_told_of_once_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80)

    attempts: list[None] = []

    async def full(*_: Any) -> None:
        attempts.append(None)
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "set_identity", full)
        patch.setattr(life_module, "_PEERS_INTERVAL", 0.001)
        async with open_node(config("ann", data_dir=tmp_path)) as node:
            assert len(node.lookup("orders")) == 1
            with trio.fail_after(PATIENCE):
                while len(attempts) < 3:  # noqa: ASYNC110 - likewise
                    await trio.sleep(0.001)
            patch.undo()
            with trio.fail_after(PATIENCE):
                while node._life._index_noted <= 0:  # noqa: ASYNC110 - likewise
                    await trio.sleep(0.001)
    assert [each for each in caplog.messages if "not noted" in each] == [
        "this life of the node is not noted on disk: free some space on its disk"
    ]


# Rows that cannot be used


UNUSABLE = {
    "no msgpack": b"\xc1",
    "not a map": b"\x93\x01\x02\x03",
    "empty": b"",
    "truncated": b"\x88\xa7service\xa6ord",
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_an_instance_on_disk_that_cannot_be_used_is_set_aside_and_the_others_are_offered(
    tmp_path: Path, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80, id="good")
    with closing(Store.open(tmp_path)) as store:
        store.put_instance("bad", body)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert [each.id for each in node.lookup("orders")] == ["good"]
    assert "instance bad is not offered again: " in caplog.text
    assert set(on_disk(tmp_path).instances) == {"good"}
    with closing(Store.open(tmp_path)) as store:
        kept = store._connection.execute("SELECT id, body FROM set_aside").fetchall()
    assert kept == [(b"bad", body)], "nothing is destroyed"


async def test_an_instance_that_todays_checks_refuse_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80, id="was-fine", meta={"a": "b"}, checks=[Check(ttl=60)])
        await node.register("orders", port=81, id="o")
    monkeypatch.setattr("gossipreg.limits.META_KEY_CHARS_MAX", 0)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert [each.id for each in node.lookup("orders", healthy=False)] == ["o"]
        assert node.checks() == ()
        again = await node.register("orders", port=80, id="was-fine")
        assert node.own("was-fine") == again
    assert "instance was-fine is not offered again" in caplog.text
    assert set(on_disk(tmp_path).instances) == {"o", "was-fine"}


async def test_a_disk_that_cannot_set_aside_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)):
        pass
    with closing(Store.open(tmp_path)) as store:
        store.put_instance("bad", b"\xc1")

    async def full(*_: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    monkeypatch.setattr(Keeper, "set_aside", full)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert (await node.register("orders", port=80)).health is Health.PASSING
    assert "what cannot be used is not set aside: free some space" in caplog.text
