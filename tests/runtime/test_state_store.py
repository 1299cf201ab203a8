"""The data directory loses nothing that was acknowledged; damage is noticed and does not stop the agent."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from gossipreg import limits
from gossipreg.errors import StorageError
from gossipreg.model import Address
from gossipreg.runtime import state_database
from gossipreg.runtime.saved_state import SavedState
from gossipreg.runtime.state_database import DATABASE
from gossipreg.runtime.state_store import LOCK, AsyncStateStore, StateStore
from tests.syncs import recorded

PEERS = (Address("127.0.0.1", 7940), Address("::1", 7941))
INSTANCES = {f"orders-{number}": b"payload %d " % number * 25 for number in range(40)}
FULL = SavedState(name="a", generation=17, peers=PEERS, instances=INSTANCES)


def fill(directory: Path) -> None:
    """Save what `FULL` says."""
    with contextlib.closing(StateStore.open(directory)) as store, store.transaction():
        store.set_identity("a", 17)
        store.set_peers(PEERS)
        for instance_id, payload in INSTANCES.items():
            store.put_instance(instance_id, payload)


def reopened(directory: Path) -> SavedState:
    with contextlib.closing(StateStore.open(directory)) as store:
        return store.load()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@contextlib.contextmanager
def behind_the_back(directory: Path) -> Iterator[sqlite3.Connection]:
    """The database while no agent runs, to change what it must not trust."""
    with contextlib.closing(sqlite3.connect(directory / DATABASE)) as connection, connection:
        yield connection


def refusal(directory: Path) -> str:
    with pytest.raises(StorageError) as refused:
        StateStore.open(directory)
    assert "\n" not in str(refused.value)
    assert str(directory) in str(refused.value)
    return str(refused.value)


def test_a_new_directory_is_made_for_its_owner_only_and_holds_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "var" / "gossipreg"
    assert reopened(directory) == SavedState()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_what_was_saved_is_there_again(tmp_path: Path) -> None:
    fill(tmp_path)
    assert reopened(tmp_path) == FULL


def test_the_last_word_counts(tmp_path: Path) -> None:
    fill(tmp_path)
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        store.set_identity("b", 18)
        store.set_peers(PEERS[1:])
        store.put_instance("orders-0", b"changed")
        store.drop_instance("orders-1")
        store.drop_instance("never there")
    kept = {instance_id: INSTANCES[instance_id] for instance_id in INSTANCES if instance_id != "orders-1"}
    expected = SavedState(name="b", generation=18, peers=PEERS[1:], instances=kept | {"orders-0": b"changed"})
    assert reopened(tmp_path) == expected


def test_a_write_is_in_the_files_when_it_returns(tmp_path: Path) -> None:
    with contextlib.closing(StateStore.open(tmp_path / "data")) as store:
        store.put_instance("orders-0", b"payload")
        shutil.copytree(tmp_path / "data", tmp_path / "as after a crash")
    assert reopened(tmp_path / "as after a crash") == SavedState(instances={"orders-0": b"payload"})


def test_renames_outlive_a_loss_of_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that was made, and one that was set aside: its directory is synced after each."""
    synced = recorded(monkeypatch)
    StateStore.open(tmp_path).close()
    (tmp_path / DATABASE).write_bytes(b"spoiled")
    StateStore.open(tmp_path).close()
    assert [sync.of for sync in synced] == ["directory"] * 3
    assert [DATABASE in sync.names for sync in synced] == [True, False, True]
    assert f"{DATABASE}.corrupt-1" in synced[1].names


def test_every_commit_is_synced(tmp_path: Path) -> None:
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        assert store._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        with contextlib.suppress(ZeroDivisionError), store.transaction():
            store.put_instance("orders-0", b"payload")
            raise ZeroDivisionError
        assert store.load() == SavedState()


def test_importing_the_module_does_not_load_sqlite() -> None:
    program = "import sys, gossipreg.runtime.state_store; print('sqlite3' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert shown.stdout == "False\n"


# Which process may have the directory


def test_a_second_agent_is_refused_with_the_holder_of_the_directory(tmp_path: Path) -> None:
    with contextlib.closing(StateStore.open(tmp_path)):
        assert f"in use by process {os.getpid()}: stop that agent" in refusal(tmp_path)
    assert reopened(tmp_path) == SavedState()


def test_a_lock_file_left_by_a_dead_process_does_not_lock(tmp_path: Path) -> None:
    (tmp_path / LOCK).write_text("4194304999")
    assert reopened(tmp_path) == SavedState()
    assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_a_file_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("not a directory")
    assert "make it a directory that this user can write" in refusal(tmp_path / "data")


@contextlib.contextmanager
def as_an_ordinary_user() -> Iterator[None]:
    """Root may write anywhere; for the time being, be the user nobody."""
    euid = os.geteuid()
    if euid == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(euid)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with as_an_ordinary_user():
        assert "Permission denied: make it a directory that this user can write" in refusal(tmp_path / "data")
    tmp_path.chmod(0o700)


def test_a_database_that_may_not_be_written_is_refused_and_not_taken_for_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    content = bytearray((tmp_path / DATABASE).read_bytes())
    content[18] = 3  # a head that asks for a later SQLite has the same effect as a file that is read-only
    (tmp_path / DATABASE).write_bytes(content)
    assert "make it a directory that this user can write" in refusal(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == content


def test_a_database_that_another_program_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, timeout=0))
        assert f"close the program that reads {DATABASE}" in refusal(tmp_path)
    assert reopened(tmp_path) == FULL


def rewrite(directory: Path, kind: str, body: bytes, key: str = "") -> None:
    """Put a row there whose checksum is right, whatever it says."""
    with behind_the_back(directory) as connection:
        checksum = state_database.checksum_of(kind.encode(), key.encode(), body)
        connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (kind, key, body, checksum))


def rows_aside(directory: Path) -> list[tuple[str, str, bytes]]:
    with behind_the_back(directory) as connection:
        return connection.execute("SELECT kind, id, body FROM set_aside ORDER BY kind, id").fetchall()


@pytest.mark.parametrize(("version", "why"), [(b"99", "a later gossipreg wrote it"), (b"x", "are not readable")])
def test_a_database_of_another_version_is_set_aside_whole(tmp_path: Path, version: bytes, why: str) -> None:
    fill(tmp_path)
    rewrite(tmp_path, "schema", version)
    content = (tmp_path / DATABASE).read_bytes()
    [warning] = reopened(tmp_path).warnings
    assert why in warning
    assert (tmp_path / f"{DATABASE}.corrupt-1").read_bytes() == content


def test_a_database_of_another_user_is_set_aside_where_the_directory_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path / DATABASE and access(path, mode))
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        [warning] = store.load().warnings
    assert "this user may not read and write it" in warning
    monkeypatch.undo()
    (tmp_path / f"{DATABASE}.corrupt-1").replace(tmp_path / DATABASE)
    assert reopened(tmp_path) == FULL, "nothing in it was lost"


UNUSABLE = [
    ("identity", b"{"),
    ("identity", b"[]"),
    ("identity", b'{"name": 3}'),
    ("identity", b'{"name": "a b"}'),
    ("identity", b'{"generation": "1"}'),
    ("identity", b'{"generation": -1}'),
    ("identity", b'{"generation": 9007199254740992}'),
    ("identity", b'{"index": 1.5}'),
    ("peers", b'[["127.0.0.1"]]'),
    ("peers", b'[["127.0.0.1", 70000]]'),
    ("peers", b"7"),
    ("peers", b"[" * 100_000),
    ("drain", b"{}"),
    ("drain", b'{"reason": 1}'),
]


@pytest.mark.parametrize(("kind", "body"), UNUSABLE, ids=[f"{kind} {body[:40]!r}" for kind, body in UNUSABLE])
def test_a_row_that_is_whole_and_of_no_use_is_kept_aside_with_a_warning(tmp_path: Path, kind: str, body: bytes) -> None:
    fill(tmp_path)
    rewrite(tmp_path, kind, body)
    saved = reopened(tmp_path)
    assert len(saved.warnings) == 1
    assert f"({kind})" in saved.warnings[0]
    assert saved.instances == INSTANCES, "the others are used"
    assert rows_aside(tmp_path) == [(kind, "", body)]
    assert reopened(tmp_path).warnings == (), "told once"


def test_a_row_of_a_kind_that_a_later_version_has_stays_where_it_is(tmp_path: Path) -> None:
    fill(tmp_path)
    rewrite(tmp_path, "quantum", b"{")
    assert reopened(tmp_path) == FULL
    with behind_the_back(tmp_path) as connection:
        assert connection.execute("SELECT body FROM entries WHERE kind = 'quantum'").fetchall() == [(b"{",)]


def test_rows_that_the_agent_cannot_use_are_set_aside_at_its_word(tmp_path: Path) -> None:
    fill(tmp_path)
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        store.set_aside([("instance", "orders-0"), ("instance", "never there")])
    assert rows_aside(tmp_path) == [("instance", "orders-0", INSTANCES["orders-0"])]
    assert reopened(tmp_path).instances.keys() == INSTANCES.keys() - {"orders-0"}


def test_a_node_starts_although_its_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    rewrite(tmp_path, "peers", b"7")
    connect = state_database._connect

    def full(path: Path) -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA query_only = 1")  # the nearest to it: what is to be written fails
        return connection

    monkeypatch.setattr(state_database, "_connect", full)
    monkeypatch.setattr(state_database, "_code", lambda _error: "SQLITE_FULL")
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        saved = store.load()
    assert (saved.instances, saved.peers) == (INSTANCES, ())
    assert "free some space on its disk" in saved.warnings[-1]


# Damage


def test_a_row_that_fails_its_checksum_is_kept_aside_with_a_warning(tmp_path: Path) -> None:
    fill(tmp_path)
    with behind_the_back(tmp_path) as connection:
        connection.execute("UPDATE entries SET body = x'00' WHERE id = 'orders-0'")
        connection.execute("UPDATE entries SET body = 17 WHERE id = 'orders-1'")
        connection.execute("UPDATE entries SET id = CAST(x'ff27' AS TEXT) WHERE id = 'orders-2'")
        connection.execute("UPDATE entries SET checksum = x'00' WHERE kind IN ('identity', 'peers')")
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        saved = store.load()
        assert store.load().warnings == (), "told once"
    kept = {instance_id: INSTANCES[instance_id] for instance_id in list(INSTANCES)[3:]}
    assert (saved.name, saved.generation, saved.peers, saved.instances) == (None, 0, (), kept)
    assert len(saved.warnings) == 5
    assert any("(instance orders-0)" in warning and "damaged" in warning for warning in saved.warnings)
    with behind_the_back(tmp_path) as connection:
        connection.text_factory = bytes
        aside = connection.execute("SELECT kind, id, body FROM set_aside ORDER BY id").fetchall()
    assert [row[1] for row in aside] == [b"", b"", b"orders-0", b"orders-1", b"\xff'"]
    assert aside[2] == (b"instance", b"orders-0", b"\0")


def damaged(directory: Path, content: bytes) -> SavedState:
    """What is loaded after the database was replaced by ``content``; never an exception."""
    for path in directory.iterdir():
        path.unlink()
    (directory / DATABASE).write_bytes(content)
    saved = reopened(directory)
    set_aside = [path for path in directory.iterdir() if path.name.startswith(f"{DATABASE}.corrupt-")]
    for path in set_aside:
        assert path.read_bytes() == content
        assert any(path.name in warning for warning in saved.warnings)
    assert saved.warnings or saved == FULL, "a loss without a warning"
    for instance_id, payload in saved.instances.items():
        assert INSTANCES[instance_id] == payload
    with contextlib.closing(StateStore.open(directory)) as store:
        assert store.load() == attrs.evolve(saved, warnings=()), "told once"
        store.put_instance("orders-new", b"it goes on")
    assert reopened(directory).instances == {**saved.instances, "orders-new": b"it goes on"}
    return saved


@pytest.fixture
def content(tmp_path: Path) -> bytes:
    """The bytes of a whole database."""
    fill(tmp_path)
    return (tmp_path / DATABASE).read_bytes()


def test_a_truncated_database_is_set_aside(tmp_path: Path, content: bytes) -> None:
    rng = random.Random(1)
    for length in [0, 1, 15, 16, 99, 100, 512, 4096, 8192, *rng.sample(range(len(content)), 30)]:
        saved = damaged(tmp_path, content[:length])
        assert (saved.name, saved.instances, len(saved.warnings)) == (None, {}, 1), length


def test_any_flipped_bit_is_harmless_or_warned_of(tmp_path: Path, content: bytes) -> None:
    rng = random.Random(2)
    bits = [byte * 8 + rng.randrange(8) for byte in range(100)]  # the database's head
    warned = 0
    for bit in bits + rng.sample(range(len(content) * 8), 50):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        warned += bool(damaged(tmp_path, bytes(flipped)).warnings)
    assert warned > 30


def test_overwritten_blocks_are_harmless_or_warned_of(tmp_path: Path, content: bytes) -> None:
    rng = random.Random(3)
    for _ in range(60):
        start, length = rng.randrange(len(content)), rng.choice([4, 64, 512, 4096])
        changed = bytearray(content)
        block = rng.choice([bytes(length), rng.randbytes(length)])
        changed[start : start + length] = block[: len(content) - start]
        damaged(tmp_path, bytes(changed))


def test_damage_that_even_sqlite_cannot_put_into_words_is_warned_of(tmp_path: Path, content: bytes) -> None:
    (warning,) = damaged(tmp_path, content.replace(b"CREATE", b"CR\xe5ATE")).warnings
    assert "its tables are not readable" in warning


def test_something_else_under_the_databases_name_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("not a database, but long enough to be taken for one\n" * 100)
    assert len(reopened(tmp_path).warnings) == 1
    with contextlib.closing(sqlite3.connect(tmp_path / f"{DATABASE}.foreign")) as foreign, foreign:
        foreign.execute("CREATE TABLE entries (kind, id, body, checksum)")
    (tmp_path / f"{DATABASE}.foreign").replace(tmp_path / DATABASE)
    assert "its schema version cannot be read" in reopened(tmp_path).warnings[0]
    assert {f"{DATABASE}.corrupt-1", f"{DATABASE}.corrupt-2"} < names(tmp_path)


def test_a_journal_without_its_database_is_set_aside_before_it_can_do_harm(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / DATABASE).unlink()
    assert "only its journal is left" in reopened(tmp_path).warnings[0]
    (tmp_path / DATABASE).write_bytes(b"")
    reopened(tmp_path)
    assert {f"{DATABASE}.corrupt-1-journal", f"{DATABASE}.corrupt-2"} < names(tmp_path)


def test_what_a_crash_left_of_making_a_database_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / f"{DATABASE}.new").write_bytes(b"half")
    (tmp_path / f"{DATABASE}.new-journal").write_bytes(b"half")
    assert reopened(tmp_path) == SavedState()
    assert not any(".new" in name for name in names(tmp_path))


def test_a_disk_that_spoils_even_a_new_database_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_database, "_create", lambda path: path.write_bytes(b"spoiled"))
    assert "even a new gossipreg.db is damaged" in refusal(tmp_path)


def test_damage_that_is_met_while_running_is_told_with_the_remedy(tmp_path: Path) -> None:
    with contextlib.closing(StateStore.open(tmp_path)) as store, store.transaction():
        for number in range(4000):  # more than SQLite keeps in memory
            store.put_instance(f"orders-{number}", bytes(1000))
    with contextlib.closing(StateStore.open(tmp_path)) as store:
        with (tmp_path / DATABASE).open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 4_000_000)
        with pytest.raises(StorageError, match="start the agent again, and it sets the damaged file aside"):
            store.load()
    assert len(reopened(tmp_path).warnings) == 1


# Many tasks, one disk


def commits(store: AsyncStateStore) -> list[str]:
    """A list that grows by one at every commit."""
    seen: list[str] = []
    store._store._connection.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
    return seen


async def test_writes_that_come_together_share_a_commit(tmp_path: Path) -> None:
    store = await AsyncStateStore.open(tmp_path)
    seen = commits(store)
    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(store.put_instances, {f"orders-{number}": b"payload %d" % number})
    assert len(seen) <= 3
    assert await store.load() == SavedState(
        instances={f"orders-{number}": b"payload %d" % number for number in range(500)}
    )
    await store.close()


async def test_every_kind_of_write_is_kept_in_the_order_it_was_asked_for(tmp_path: Path) -> None:
    store = await AsyncStateStore.open(tmp_path)
    await store.set_identity("a", 17)
    await store.set_peers(iter(PEERS))
    await store.put_instances({"orders-0": b"first"})
    await store.put_instances({"orders-0": b"second"})
    await store.put_instances({"orders-1": b"short-lived"})
    await store.put_instances({"orders-1": None})
    await store.close()
    assert reopened(tmp_path) == SavedState(name="a", generation=17, peers=PEERS, instances={"orders-0": b"second"})


async def test_on_a_full_disk_every_writer_of_the_commit_is_told_and_the_store_goes_on(tmp_path: Path) -> None:
    store = await AsyncStateStore.open(tmp_path)
    refused: list[str] = []

    async def put(number: int) -> None:
        try:
            await store.put_instances({f"orders-{number}": bytes(10_000)})
        except StorageError as error:
            refused.append(str(error))

    store._store._connection.execute("PRAGMA max_page_count = 10")
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(put, number)
    assert len(refused) == 20
    assert all(sentence.endswith("database or disk is full: free some space on its disk") for sentence in refused)
    assert "database or disk is full" in store.problem
    await store.look_at_disk()
    assert "database or disk is full" in store.problem, "only a write tells that it is over"
    store._store._connection.execute("PRAGMA max_page_count = 1000")
    await put(20)
    assert store.problem == ""
    assert list((await store.load()).instances) == ["orders-20"]
    await store.close()


async def test_a_writer_that_is_cancelled_leaves_the_others_their_commit(tmp_path: Path) -> None:
    store = await AsyncStateStore.open(tmp_path)
    async with trio.open_nursery() as nursery, store._turn:
        with trio.move_on_after(0):
            await store.put_instances({"orders-0": b"cancelled while it waits"})
        nursery.start_soon(store.put_instances, {"orders-1": b"payload"})
        await trio.testing.wait_all_tasks_blocked()
    assert (await store.load()).instances["orders-1"] == b"payload"
    await store.close()


async def test_closing_waits_for_the_writes_and_cannot_be_cancelled(tmp_path: Path) -> None:
    store = await AsyncStateStore.open(tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.put_instances, {"orders-0": b"payload"})
        await trio.testing.wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.close()
    assert reopened(tmp_path) == SavedState(instances={"orders-0": b"payload"})
    with pytest.raises(StorageError):
        await store.put_instances({"orders-1": b"too late"})


# Sudden death

REGISTER_FOREVER = """
import os, sys, trio
from pathlib import Path
from gossipreg.runtime.state_store import AsyncStateStore

async def register(store, task):
    for turn in range(1_000_000):
        instance_id = f"{sys.argv[2]}-{task}-{turn}"
        await store.put_instances({instance_id: instance_id.encode() * 20})
        os.write(1, f"+{instance_id}\\n".encode())
        if turn % 5 == task:
            os.write(1, f"?{instance_id}\\n".encode())
            await store.put_instances({instance_id: None})
            os.write(1, f"-{instance_id}\\n".encode())

async def main():
    store = await AsyncStateStore.open(Path(sys.argv[1]))
    async with trio.open_nursery() as nursery:
        for task in range(4):
            nursery.start_soon(register, store, task)

trio.run(main)
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_missing_after_a_kill_at_any_moment(tmp_path: Path) -> None:
    rng = random.Random(4)
    acknowledged: set[str] = set()
    dropped: set[str] = set()
    for attempt in range(15):
        command = [sys.executable, "-c", REGISTER_FOREVER, str(tmp_path), str(attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(rng.randrange(1, 120))]
            child.kill()
            told += child.stdout.readlines()
        assert child.returncode == -signal.SIGKILL
        for line in told:
            verb, instance_id = line[0], line[1:].rstrip("\n")
            if verb == "+":
                acknowledged.add(instance_id)
            else:
                acknowledged.discard(instance_id)
            if verb == "-":
                dropped.add(instance_id)
        saved = reopened(tmp_path)
        assert saved.warnings == ()
        assert acknowledged <= saved.instances.keys()
        assert not dropped & saved.instances.keys()
        assert all(payload == instance_id.encode() * 20 for instance_id, payload in saved.instances.items())


@attrs.frozen
class Disk:
    """What the kernel tells of a file system."""

    f_bavail: int = 1_000_000
    f_frsize: int = 4096
    f_flag: int = 0


@pytest.mark.parametrize(
    ("disk", "part"),
    [
        (Disk(), ""),
        (Disk(f_bavail=limits.DISK_FREE_MIN // 4096), ""),
        (Disk(f_bavail=limits.DISK_FREE_MIN // 4096 - 1), "is full, 2044 KiB are left: free some space"),
        (Disk(f_flag=os.ST_RDONLY), "is read-only"),
    ],
)
async def test_a_disk_on_which_writes_may_fail_is_a_problem(
    disk: Disk, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await AsyncStateStore.open(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    await store.look_at_disk()
    assert (part in store.problem) if part else store.problem == ""
    await store.close()


async def test_a_data_directory_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    store = await AsyncStateStore.open(tmp_path / "data")
    (tmp_path / "data").rename(tmp_path / "moved")
    await store.look_at_disk()
    assert "No such file or directory" in store.problem
    await store.close()
