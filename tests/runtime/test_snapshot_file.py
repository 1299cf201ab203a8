"""A node that starts in an outage answers from its snapshot, as stale, until it has reached a member."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from gossipreg import Config, Health, Instance, StorageError, open_node
from gossipreg.runtime import snapshot_file
from gossipreg.runtime.snapshot_file import AGE_SECONDS_MAX, SnapshotContent, _digest, _read, _write
from tests.runtime.nodes import PATIENCE, config
from tests.syncs import recorded

ORDERS = Instance(
    id="o1",
    service="orders",
    host="10.0.0.1",
    port=80,
    owner="bob",
    tags=["v2"],
    meta={"k": "v"},
    weight=3,
    zone="north",
    sealed=b"secret",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "last"


@pytest.fixture
def nowhere() -> str:
    """An address without a listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def saved(path: Path, *instances: Instance, cluster: str = "default") -> None:
    """A file with these, written by another member of the cluster."""
    services: dict[str, tuple[Instance, ...]] = {}
    for each in instances:
        services[each.service] = (*services.get(each.service, ()), each)
    _write(path, cluster, "gus", services)


def cut_off(path: Path, nowhere: str, **options: Any) -> Config:
    """A node that can reach no member, and has a file."""
    return attrs.evolve(config("ann", **options), join=(nowhere,), snapshot=path)


async def in_file(path: Path, *ids: str) -> None:
    """Return when the file holds just these instances."""
    with trio.fail_after(PATIENCE):
        while True:
            content = _read(path, "default", 0.0)
            if content is not None and [each.id for found in content.services.values() for each in found] == list(ids):
                return
            await trio.sleep(0.01)


# What it answers


async def test_the_snapshot_answers_as_stale_until_a_member_is_reached(path: Path, nowhere: str) -> None:
    saved(path, ORDERS, attrs.evolve(ORDERS, id="p1", service="paint"))
    async with open_node(cut_off(path, nowhere)) as ann:
        assert ann.lookup("orders") == (attrs.evolve(ORDERS, stale=True),)
        assert (ann.pick("orders").id, ann.lookup("orders", tag="v3"), ann.lookup("nothing")) == ("o1", (), ())
        assert ann.info().serving_last_known
        index, watch = ann.index("orders"), ann.watch("orders")
        assert [each.stale for each in (await anext(watch)).instances] == [True]
        async with open_node(attrs.evolve(config("bob"), bind=nowhere)) as bob:
            await bob.register("paint", port=81)
            with trio.fail_after(PATIENCE):
                assert [each.id for each in (await anext(watch)).removed] == ["o1"]
                [paint] = await ann.wait_for("paint")
            assert (paint.port, paint.stale, ann.lookup("orders")) == (81, False, ())
            assert not ann.info().serving_last_known
            assert ann.index("orders") > index
        assert ann.lookup("orders") == ()


async def test_it_is_never_mixed_with_what_is_known(path: Path, nowhere: str) -> None:
    saved(path, ORDERS)
    async with open_node(cut_off(path, nowhere)) as ann:
        made = await ann.register("orders", port=9)
        assert ann.lookup("orders") == (made,)
        await ann.deregister(made.id)
        assert [each.id for each in ann.lookup("orders")] == ["o1"]


async def test_what_a_node_offered_itself_is_not_answered_to_it(path: Path, nowhere: str) -> None:
    saved(path, ORDERS, attrs.evolve(ORDERS, id="o2", owner="ann"), attrs.evolve(ORDERS, service="own", owner="ann"))
    async with open_node(cut_off(path, nowhere)) as ann:
        assert [each.id for each in ann.lookup("orders")] == ["o1"]
        assert list(ann.services()) == ["orders"]


async def test_a_node_without_seeds_answers_until_another_joins_it(path: Path) -> None:
    saved(path, ORDERS)
    async with open_node(attrs.evolve(config("ann"), snapshot=path)) as ann:
        assert [each.id for each in ann.lookup("orders")] == ["o1"]
        async with open_node(config("bob", ann)):
            with trio.fail_after(PATIENCE):
                async for change in ann.watch("orders"):
                    if not change.instances:
                        break


async def test_the_log_tells_of_the_start_and_the_end_once(
    path: Path, nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gossipreg.runtime.snapshot_file")
    saved(path, ORDERS)
    async with open_node(cut_off(path, nowhere)) as ann:
        [line] = caplog.messages
        assert line == f"until a member is reached, {path} is answered from: services 1, age 0 s"
        async with open_node(attrs.evolve(config("bob"), bind=nowhere)):
            with trio.fail_after(PATIENCE):
                while len(caplog.messages) < 2:  # noqa: ASYNC110 - a line of the log rings no bell
                    await trio.sleep(0.01)
        assert ann.lookup("orders") == ()
    assert caplog.messages[1:] == [f"a member was reached: {path} is no longer used for answers"]


# What it keeps


async def test_what_others_offer_is_in_the_file_and_what_they_withdraw_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot_file, "WRITE_SECONDS", 0.05)
    async with (
        open_node(config("bob")) as bob,
        open_node(attrs.evolve(config("ann", bob), snapshot=path)) as ann,
    ):
        await ann.register("orders", port=1, id="own")
        await bob.register("orders", port=2, id="two")
        await bob.register("paint", port=3, id="three")
        await in_file(path, "two", "three")
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        await bob.deregister("two")
        await in_file(path, "three")
    assert [each.name for each in path.parent.iterdir()] == ["last"]


async def test_what_is_seen_last_is_kept_at_the_end(path: Path) -> None:
    async with open_node(config("bob")) as bob:
        async with open_node(attrs.evolve(config("ann", bob), snapshot=path)) as ann:
            await bob.register("orders", port=2, id="one")
            await ann.wait_for("orders")
            await in_file(path, "one")
            await bob.register("orders", port=3, id="two")  # within the time between two writes
            await ann.wait_for("orders", at_least=2)
        await in_file(path, "one", "two")


async def test_an_outage_does_not_wear_the_file_away(path: Path, nowhere: str) -> None:
    async with open_node(config("bob")) as bob, open_node(attrs.evolve(config("ann", bob), snapshot=path)) as ann:
        await bob.register("orders", port=2, id="one")
        await ann.wait_for("orders")
        await in_file(path, "one")
        bob._lifecycle.context.close()
        watch = ann.watch("orders")
        with trio.fail_after(PATIENCE):
            while (await anext(watch)).instances:
                pass
    await in_file(path, "one")
    async with open_node(cut_off(path, nowhere)) as ann:
        assert [each.id for each in ann.lookup("orders")] == ["one"]
    await in_file(path, "one")


async def test_a_node_runs_on_although_its_disk_is_full(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_file, "_write", full)
    monkeypatch.setattr(snapshot_file, "WRITE_SECONDS", 0.01)
    async with open_node(config("bob")) as bob, open_node(attrs.evolve(config("ann", bob), snapshot=path)) as ann:
        for port in (1, 2, 3):
            await bob.register("orders", port=port)
            await ann.wait_for("orders", at_least=port)
    warnings = [each for each in caplog.messages if "snapshot" in each]
    assert warnings == [f"the snapshot {path} is not written: No space left on device"]


# The file


def test_everything_that_callers_need_is_read_back(path: Path) -> None:
    warning = attrs.evolve(ORDERS, id="o2", health=Health.WARNING, reason="slow", stale=True)
    old = attrs.evolve(ORDERS, id="p1", service="paint", role="fenced", term=3)
    new = attrs.evolve(ORDERS, id="p2", service="paint", role="primary", term=4)
    saved(path, ORDERS, warning, old, new)
    content = _read(path, "default", 0.0)
    assert content is not None
    wanted = [attrs.evolve(each, stale=True, health=Health.PASSING, reason="") for each in (ORDERS, warning, old, new)]
    assert [each for found in content.services.values() for each in found] == wanted
    assert b"secret" in path.read_bytes()
    assert "secret" not in repr(content)


@pytest.mark.parametrize(
    ("spoil", "flaw"),
    [
        (lambda data: data[:-1], "it is damaged"),
        (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], "it is damaged"),
        (lambda data: b"", "it is no snapshot, or of another version"),
        (lambda data: data.replace(b"known 1", b"known 2"), "it is no snapshot, or of another version"),
        (lambda data: data[:23] + _digest(b"\x90") + b"\x90", "it is of another version"),
    ],
)
def test_a_file_that_is_not_whole_is_set_aside_with_one_warning(
    path: Path, caplog: pytest.LogCaptureFixture, spoil: Any, flaw: str
) -> None:
    saved(path, ORDERS)
    data = spoil(path.read_bytes())
    path.write_bytes(data)
    assert _read(path, "default", 0.0) is None
    assert caplog.messages == [
        f"the snapshot {path} is not used ({flaw}): it was set aside under the name last.aside-1"
    ]
    assert path.with_name("last.aside-1").read_bytes() == data
    assert not path.exists()


def test_a_file_of_another_cluster_is_set_aside_beside_those_before(path: Path) -> None:
    for number in (1, 2):
        saved(path, ORDERS, cluster="other")
        assert _read(path, "default", 0.0) is None
        assert path.with_name(f"last.aside-{number}").exists()


def test_a_file_outlives_a_loss_of_power_whole_or_not_at_all(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = recorded(monkeypatch)
    saved(path, ORDERS)
    assert [sync.of for sync in synced] == ["file", "directory"]
    assert [path.name in sync.names for sync in synced] == [False, True]
    assert [f"{path.name}.new-gus" in sync.names for sync in synced] == [True, False]


def test_a_file_that_cannot_be_read_is_set_aside_if_it_can(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved(path, ORDERS)
    content = path.read_bytes()

    def denied(*_: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        assert _read(path, "default", 0.0) is None
    assert "is not used (it cannot be read: Permission denied): it was set aside" in caplog.text
    assert path.with_name("last.aside-1").read_bytes() == content


def test_a_file_that_is_too_old_is_not_used(path: Path) -> None:
    saved(path, ORDERS)
    written = path.stat().st_mtime
    assert _read(path, "default", written + AGE_SECONDS_MAX - 10) is not None
    assert _read(path, "default", written + AGE_SECONDS_MAX + 10) is None
    assert path.exists()


def test_a_file_holds_no_more_than_may_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gossipreg.limits.SNAPSHOT_BYTES_MAX", 8000)
    saved(path, *(attrs.evolve(ORDERS, service=f"s{number}", meta={"k": "v" * 1000}) for number in range(9)))
    assert caplog.messages == [f"the snapshot {path} is full: 3 services are not in it"]
    content = _read(path, "default", 0.0)
    assert content is not None
    assert list(content.services) == [f"s{number}" for number in range(6)]


async def test_a_path_that_cannot_be_used_is_a_users_mistake(tmp_path: Path) -> None:
    for path, sentence in [
        (tmp_path, f"snapshot: cannot read {tmp_path}: Is a directory: "),
        (tmp_path / "no" / "last", f"snapshot: there is no directory {tmp_path / 'no'}: make it, or name another"),
    ]:
        with pytest.raises(StorageError) as caught:
            async with open_node(attrs.evolve(config("ann"), snapshot=path)):
                pass
        assert str(caught.value).startswith(sentence)


async def test_in_the_end_even_what_was_known_is_too_old(path: Path, nowhere: str, monkeypatch: Any) -> None:
    saved(path, ORDERS)
    monkeypatch.setattr(snapshot_file, "AGE_SECONDS_MAX", 0.5)
    async with open_node(cut_off(path, nowhere)) as ann:
        with trio.fail_after(PATIENCE):
            async for change in ann.watch("orders"):
                if not change.instances:
                    break
        assert not ann.info().serving_last_known


async def test_a_file_that_becomes_too_old_while_the_node_starts_is_not_answered_from(
    path: Path, nowhere: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(snapshot_file, "_read", lambda *_: SnapshotContent({"orders": (ORDERS,)}, written=0.0))
    async with open_node(cut_off(path, nowhere)) as ann:
        with trio.fail_after(PATIENCE):
            async for change in ann.watch("orders"):
                if not change.instances:
                    break
        assert not ann.info().serving_last_known
