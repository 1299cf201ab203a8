"""What a restart keeps: with a data directory all that users set, and in any case the indexes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gossipreg import Check, Health, InvalidInstance, Node, Split, StorageError, open_node
from gossipreg.runtime import state_writer
from gossipreg.runtime.registrations import LocalRegistration
from gossipreg.runtime.saved_state import SavedState
from gossipreg.runtime.state_store import AsyncStateStore, StateStore
from gossipreg.spec import InstanceSpec
from tests.runtime.nodes import PATIENCE, config

HOUR = 3600.0


def at_the_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From now on the wall clock shows ``seconds`` more than it does (fewer, below 0)."""
    time_ns, now = time.time_ns, time.time
    monkeypatch.setattr(time, "time_ns", lambda: time_ns() + int(seconds * 1e9))
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def on_disk(directory: Path) -> SavedState:
    with closing(StateStore.open(directory)) as store:
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
            before = ann.index(), ann.index("orders"), ann.index("never offered")
        at_the_time(monkeypatch, -HOUR)
        async with open_node(config("ann", peer, bind=str(address))) as ann:
            await ann.register("orders", port=80)
            with trio.fail_after(PATIENCE):
                while ann.info().generation <= before[0] // 1000:
                    await ann.wait_changed(None, ann.index())
            after = ann.index(), ann.index("orders"), ann.index("never offered")
            assert all(later > earlier for earlier, later in zip(before, after, strict=True))


def stored_index(node: Node) -> int:
    writer = node._lifecycle.state_writer
    assert writer is not None
    return writer._stored_index


async def test_an_index_on_disk_is_ahead_of_all_that_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many changes a node sees within a life, and whatever its clock shows in the next."""
    monkeypatch.setattr(state_writer, "_INDEXES_AHEAD", 100)
    monkeypatch.setattr(state_writer, "_PEERS_INTERVAL", 0.001)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        for turn in range(3):
            for _ in range(60):
                await node.register("orders", port=80, meta={"turn": f"{turn} {_}"})
            highest = max(node.index(), node.index("orders"))
            with trio.fail_after(PATIENCE):
                while stored_index(node) <= highest:  # noqa: ASYNC110 - a write to disk notifies no task
                    await trio.sleep(0.001)
            saved = await node._lifecycle.context.store.load()  # type: ignore[union-attr]
            assert saved.index > highest
    at_the_time(monkeypatch, -HOUR)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert min(node.index(), node.index("orders"), node.index("never offered")) > highest


@pytest.mark.slow
async def test_a_disk_that_is_full_at_the_start_is_reported_once_and_the_node_starts(
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
        patch.setattr(AsyncStateStore, "set_identity", full)
        patch.setattr(state_writer, "_PEERS_INTERVAL", 0.001)
        async with open_node(config("ann", data_dir=tmp_path)) as node:
            assert len(node.lookup("orders")) == 1
            with trio.fail_after(PATIENCE):
                while len(attempts) < 3:  # noqa: ASYNC110 - likewise
                    await trio.sleep(0.001)
            patch.undo()
            with trio.fail_after(PATIENCE):
                while stored_index(node) <= 0:  # noqa: ASYNC110 - likewise
                    await trio.sleep(0.001)
    assert [each for each in caplog.messages if "not stored" in each] == [
        "the node's generation is not stored on disk: free some space on its disk"
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
    with closing(StateStore.open(tmp_path)) as store:
        store.put_instance("bad", body)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert [each.id for each in node.lookup("orders")] == ["good"]
    assert "instance bad is not registered again: " in caplog.text
    assert set(on_disk(tmp_path).instances) == {"good"}
    with closing(StateStore.open(tmp_path)) as store:
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
    assert "instance was-fine is not registered again" in caplog.text
    assert set(on_disk(tmp_path).instances) == {"o", "was-fine"}


async def test_a_node_runs_on_although_damaged_files_cannot_be_moved_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)):
        pass
    with closing(StateStore.open(tmp_path)) as store:
        store.put_instance("bad", b"\xc1")

    async def full(*_: Any) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    monkeypatch.setattr(AsyncStateStore, "set_aside", full)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert (await node.register("orders", port=80)).health is Health.PASSING
    assert "what cannot be used is not set aside: free some space" in caplog.text


# Heartbeats


async def after_a_crash(node: Node, directory: Path, copy: Path) -> Path:
    """The data directory as it would be found if the node were killed once it has nothing left to note."""
    with trio.fail_after(PATIENCE):
        while node._lifecycle.registrar.monitor._unkept:  # noqa: ASYNC110 - what is on disk rings no bell
            await trio.sleep(0.01)
        await node._lifecycle.context.store.load()  # type: ignore[union-attr]  # it waits for the writes before it
    return Path(shutil.copytree(directory, copy))


@pytest.mark.parametrize("how", ["in good order", "killed"])
async def test_ttl_checks_stand_after_a_restart_as_before_it(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_writer, "_CHECKS_INTERVAL", 0.001)
    data = tmp_path / "data"
    ttl = Check(ttl=60)
    async with open_node(config("ann", data_dir=data)) as node:
        for port, id_ in enumerate(("well", "sick", "silent", "gone"), start=80):
            await node.register("orders", port=port, id=id_, checks=[ttl])
        await node.heartbeat("well")
        await node.heartbeat("gone")
        await node.heartbeat("sick", health=Health.CRITICAL, note="disk full")
        await node.deregister("gone")
        if how == "killed":
            data = await after_a_crash(node, data, tmp_path / "copy")
    async with open_node(config("ann", data_dir=data)) as node:
        stands = {each.id: (each.health, each.reason) for each in node.lookup("orders", healthy=False)}
        assert stands == {
            "well": (Health.PASSING, ""),
            "sick": (Health.CRITICAL, "ttl: disk full"),
            "silent": (Health.CRITICAL, "ttl: not checked yet"),
        }
        [sick] = node.checks("sick")
        assert sick.output == "disk full"
    assert set(on_disk(data).checks) == {"well", "sick", "silent"}
    at_the_time(monkeypatch, 61)
    async with open_node(config("ann", data_dir=data)) as node:
        [well] = [each for each in node.lookup("orders", healthy=False) if each.id == "well"]
        assert (well.health, well.reason) == (Health.CRITICAL, "ttl: no heartbeat for 60 s")
        await node.heartbeat("well")
        assert [each.id for each in node.lookup("orders")] == ["well"]


async def test_a_restart_gives_a_ttl_check_no_new_ttl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again and again, and also by a clock that goes back each time."""
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80, id="o", checks=[Check(ttl=HOUR)])
        await node.heartbeat("o")
    for _ in range(3):
        at_the_time(monkeypatch, 0.3 * HOUR)
        async with open_node(config("ann", data_dir=tmp_path)) as node:
            assert len(node.lookup("orders")) == 1
            [watched] = node._lifecycle.registrar.monitor._running_checks["o"].values()
            left = watched.beats_until - trio.current_time()
    assert left <= 0.1 * HOUR
    at_the_time(monkeypatch, -HOUR)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        [watched] = node._lifecycle.registrar.monitor._running_checks["o"].values()
        assert watched.beats_until - trio.current_time() <= HOUR


async def test_what_files_define_keeps_its_heartbeats_too(tmp_path: Path) -> None:
    spec = InstanceSpec(service="orders", port=80, id="o", checks=(Check(ttl=60),))
    defined = LocalRegistration.of(spec, member="ann", host="127.0.0.1", zone="")
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert await node._lifecycle.defined_instances.define([defined]) == {}
        await node.heartbeat("o")
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert node.services() == {}
        assert await node._lifecycle.defined_instances.define([defined]) == {}
        assert len(node.lookup("orders")) == 1
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node._lifecycle.defined_instances.define([])
        assert not node._lifecycle.registrar.monitor._recalled
    assert on_disk(tmp_path) == attrs.evolve(on_disk(tmp_path), instances={}, checks={})


async def test_states_that_cannot_be_read_are_set_aside_and_their_checks_begin_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80, id="o", checks=[Check(ttl=60)])
        await node.heartbeat("o")
    with closing(StateStore.open(tmp_path)) as store:
        store.put_checks({"o": b"\xc1", "missing": b"\xc1"})
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        [only] = node.lookup("orders", healthy=False)
        assert only.reason == "ttl: not checked yet"
    assert "the ttl checks of instance o begin anew" in caplog.text
    assert set(on_disk(tmp_path).checks) == {"o"}


async def test_a_heartbeat_does_not_wait_for_a_disk_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(state_writer, "_CHECKS_INTERVAL", 0.001)
    put, refused = AsyncStateStore.put_checks, []

    async def full(_: AsyncStateStore, rows: Mapping[str, bytes | None]) -> None:
        refused.append(rows)
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80, id="o", checks=[Check(ttl=60)])
        with monkeypatch.context() as patch, trio.fail_after(PATIENCE):
            patch.setattr(AsyncStateStore, "put_checks", full)
            await node.heartbeat("o")
            assert len(node.lookup("orders")) == 1
            while len(refused) < 3:  # noqa: ASYNC110 - a disk rings no bell
                await trio.sleep(0.001)
        assert AsyncStateStore.put_checks is put
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert len(node.lookup("orders")) == 1, "it was noted once there was space again"
    assert [each for each in caplog.messages if "not stored" in each] == [
        "the state of ttl checks is not stored on disk: free some space on its disk"
    ]


# Drain


async def test_a_node_that_drains_still_drains_after_a_restart_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80)
        await node.drain("new disk")
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert [each.weight for each in node.lookup("orders")] == [0]
        assert (node.drained, node.info().draining) == ("new disk", True)
        assert "this node still drains, as before its restart (new disk)" in caplog.text
        await node.undrain()
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert [each.weight for each in node.lookup("orders")] == [1]
        assert (node.drained, node.info().draining) == (None, False)


async def test_a_node_that_leaves_drains_for_that_only(tmp_path: Path) -> None:
    async with open_node(config("peer")) as peer:
        async with open_node(config("ann", peer, data_dir=tmp_path)) as node:
            await node.register("orders", port=80)
            await joined(node, peer)
            await node.leave()
        async with open_node(config("ann", peer, data_dir=tmp_path)) as node:
            assert node.drained is None
            assert [each.weight for each in node.lookup("orders")] == [1]


async def test_a_drain_that_the_disk_refuses_has_not_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(_: AsyncStateStore, reason: str | None) -> None:
        await trio.lowlevel.checkpoint()
        raise StorageError("free some space on its disk")

    async with open_node(config("ann", data_dir=tmp_path)) as node:
        await node.register("orders", port=80)
        await node.drain("one")
        await node.undrain()
        with monkeypatch.context() as patch:
            patch.setattr(AsyncStateStore, "set_drained", full)
            with pytest.raises(StorageError):
                await node.drain("two")
            assert (node.drained, node.info().draining) == (None, False)
        await node.drain("three")
        with monkeypatch.context() as patch:
            patch.setattr(AsyncStateStore, "set_drained", full)
            for attempt in (node.undrain(), node.drain("four")):
                with pytest.raises(StorageError):
                    await attempt
            await node.drain("three")  # as it is: there is nothing to write
            assert (node.drained, node.info().draining) == ("three", True)
        for reason in ("x" * 161, "\ud800", 3):
            bad: Any = reason
            with pytest.raises(InvalidInstance, match=r"^reason: "):
                await node.drain(bad)


# A real full disk


async def all_of(attempts: Iterable[Callable[[], Awaitable[object]]]) -> None:
    for attempt in attempts:
        await attempt()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of 512 KiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("to mount a small disk takes root")
    disk = tmp_path / "small"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "gossipreg-test", disk], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


async def test_on_a_disk_that_is_full_every_promise_to_keep_is_refused_and_nothing_else_stops(small_disk: Path) -> None:
    data, ballast = small_disk / "data", small_disk / "ballast"
    large = {f"key-{number}": "x" * 250 for number in range(60)}
    async with open_node(config("ann", data_dir=data)) as ann, open_node(config("bob", ann)) as bob:
        await ann.register("orders", port=80, id="o")
        await joined(bob, ann)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(512)):
                pass
        offered = ann.lookup("orders", healthy=False)
        policies = [Split(f"s-{n}", {f"{n:020} {share:010}": 1 for share in range(20)}) for n in range(400)]
        for what in (
            (partial(ann.register, "orders", port=100 + n, id=f"n-{n}", meta=large) for n in range(100)),
            (partial(ann.set_policy, policy) for policy in policies),
        ):
            with pytest.raises(StorageError, match="free some space on its disk"):
                await all_of(what)
        set_ = policies[: len(ann.policies())]
        assert len(set_) < len(policies)
        assert {each.key for each in ann.policies()} == {each.key for each in set_}
        assert ann._engine.state.policies.get(policies[len(set_)].key) is None, "nothing is there to be told"
        assert {each.id for each in offered} == {"o"}
        for each in ann.lookup("orders", healthy=False):
            assert each.id in (await ann._lifecycle.context.store.load()).instances  # type: ignore[union-attr]
        ballast.unlink()
        await ann.set_policy(policies[-1])
        offered = await ann.register("orders", port=90, id="new", meta=large), *ann.lookup("orders", healthy=False)
    assert set(on_disk(data).instances) == {each.id for each in offered}
    assert set(on_disk(data).policies) == {each.key for each in (*set_, policies[-1])}


async def test_an_agent_starts_on_a_disk_that_is_full(small_disk: Path) -> None:
    data = small_disk / "data"
    async with open_node(config("ann", data_dir=data)) as ann:
        await ann.register("orders", port=80, id="o")
        await ann.drain("full")
    with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    async with open_node(config("ann", data_dir=data)) as ann:
        assert [each.weight for each in ann.lookup("orders")] == [0]


async def test_a_full_disk_is_a_problem_of_the_node_until_it_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has failed is tried again: nothing else may be written for hours."""
    monkeypatch.setattr(state_writer, "_PEERS_INTERVAL", 0.001)
    async with open_node(config("ann", data_dir=tmp_path)) as node:
        assert node.info().problems == ()
        store = node._lifecycle.context.store
        assert store is not None
        store._store._connection.execute("PRAGMA max_page_count = 1")
        with pytest.raises(StorageError):
            await node.register("orders", port=80, meta={"k": "v" * 20_000})
        assert "database or disk is full" in node.info().problems[0]
        store._store._connection.execute("PRAGMA max_page_count = 10000")
        with trio.fail_after(PATIENCE):
            while node.info().problems:  # noqa: ASYNC110 - a write to disk notifies no task
                await trio.sleep(0.001)
