"""State store: what of an agent outlives a crash: name, generation, peers, registrations, policies, terms, ttl checks.

It keeps them in one checked file of the data directory (`state_database`). What cannot be used never stops the agent:

- A row that fails its checksum is moved to the table ``set_aside``, and so is one that is whole, but that this version
  cannot use.
- All that is reported in `SavedState.warnings`.
- A lock that the kernel drops with the process that holds it keeps a second agent out.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import attrs
import trio

from gossipreg import limits
from gossipreg.errors import StorageError
from gossipreg.model import Address
from gossipreg.runtime.files import check_directory, check_regular
from gossipreg.runtime.saved_state import (
    CHECKS,
    DRAIN,
    IDENTITY,
    INSTANCE,
    JOIN_USE,
    PEERS,
    POLICY,
    TERM,
    Place,
    SavedState,
    StateRows,
)
from gossipreg.runtime.state_database import DATABASE, checksum_of, explained, is_whole, open_database, shown_bytes

if TYPE_CHECKING:
    import sqlite3  # loaded by `StateStore.open` only: most embedded nodes keep nothing

LOCK: Final = "gossipreg.lock"

#: Packed rows of one kind by their keys; None for one that is to be removed.
Rows = Mapping[str, bytes | None]
_NO_ROWS: Final[Rows] = MappingProxyType({})

#: A link in the lock's place would have another file locked and emptied, a pipe would wait for a reader.
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@attrs.define(eq=False, repr=False)
class StateStore:
    """The data directory of one running agent. Every method blocks, and raises ``StorageError`` if the disk fails.

    A write is durable when its method returns or, within a `transaction`, when that ends.
    """

    _directory: Path
    _connection: sqlite3.Connection
    _lock: int  # file descriptor
    _warnings: tuple[str, ...]

    @classmethod
    def open(cls, directory: Path) -> StateStore:
        """Lock ``directory`` for this process; it is created if missing, for its owner only.

        Raises ``StorageError`` if another process has it, or if it cannot be written, and ``UnsafeFile`` if others can
        change what is in it. A database that cannot be used is set aside under another name, and a new one begun.
        """
        with explained(directory), contextlib.ExitStack() as undo:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_directory(directory)
            lock = os.open(directory / LOCK, _LOCK_FLAGS, 0o600)
            undo.callback(os.close, lock)
            check_regular(os.fstat(lock))
            _take(lock, directory)
            connection, warnings = open_database(directory / DATABASE)
            undo.pop_all()
        return cls(directory, connection, lock, warnings)

    def close(self) -> None:
        """Close the database and release the directory. Nothing else may be called after this."""
        with explained(self._directory):
            try:
                self._connection.close()
            finally:
                os.close(self._lock)

    def disown(self) -> None:
        """Close this process's copy of the lock, in a fork of the process that holds the directory."""
        os.close(self._lock)

    def load(self) -> SavedState:
        """Everything saved that can be used; rows that cannot are moved to the table ``set_aside``."""
        found, unusable, warnings = StateRows(), [], list(self._warnings)
        with explained(self._directory):
            rows = self._connection.execute("SELECT rowid, kind, id, body, checksum FROM entries").fetchall()
        for rowid, kind, key, body, checksum in rows:
            whole = is_whole(kind, key, body, checksum)
            flaw = found.read(kind, key, body) if whole else "it is damaged"
            if flaw is not None:
                unusable.append(rowid)
                row = f"{shown_bytes(kind)} {shown_bytes(key)}".rstrip()
                warnings.append(
                    f"{self._directory / DATABASE}: a row that cannot be used ({row}) is set aside in the table "
                    f"set_aside: {shown_bytes(flaw)}"
                )
        try:
            with self.transaction():
                for rowid in unusable:
                    self._set_row_aside(rowid)
        except StorageError as error:  # a full disk: they stay where they are, and are not used
            warnings.append(str(error))
        return found.saved(warnings)

    def set_aside(self, places: Iterable[Place]) -> None:
        """Move rows that are whole, but of no use to this version, to the table ``set_aside``."""
        with explained(self._directory):
            for place in places:
                for (rowid,) in self._connection.execute("SELECT rowid FROM entries WHERE kind = ? AND id = ?", place):
                    self._set_row_aside(rowid)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Writes within it are committed together when it ends, or none of them if it fails."""
        with explained(self._directory):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    def put_instance(self, instance_id: str, payload: bytes) -> None:
        """Save a registration, packed, in place of any other of that id."""
        self._put(INSTANCE, instance_id, payload)

    def drop_instance(self, instance_id: str) -> None:
        """Remove a registration and the state of its checks, if there is one of that id."""
        self._drop(INSTANCE, instance_id)
        self._drop(CHECKS, instance_id)

    def put_instances(self, instances: Rows, terms: Rows) -> None:
        """Save registrations, packed, by id, and term registers, packed, by service; None removes one."""
        for service, register in terms.items():
            if register is None:
                self.drop_term(service)
            else:
                self.put_term(service, register)
        for instance_id, payload in instances.items():
            if payload is None:
                self.drop_instance(instance_id)
            else:
                self.put_instance(instance_id, payload)

    def put_checks(self, rows: Rows) -> None:
        """Save the state of ttl checks, packed, by the ids of their instances; None removes it."""
        for instance_id, body in rows.items():
            if body is None:
                self._drop(CHECKS, instance_id)
            else:
                self._put(CHECKS, instance_id, body)

    def put_policy(self, key: str, word: bytes) -> None:
        """Save the latest version of a policy, packed, in place of the one before."""
        self._put(POLICY, key, word)

    def drop_policy(self, key: str) -> None:
        """Remove the version of a policy, if there is one."""
        self._drop(POLICY, key)

    def put_term(self, service: str, register: bytes) -> None:
        """Save the term register of a service, packed, in place of the one before."""
        self._put(TERM, service, register)

    def drop_term(self, service: str) -> None:
        """Remove the term register of a service, if there is one."""
        self._drop(TERM, service)

    def put_join_use(self, key: str, use: bytes) -> None:
        """Save that a join token was used, packed; ``key`` names the token and the node's key."""
        self._put(JOIN_USE, key, use)

    def drop_join_use(self, key: str) -> None:
        """Remove the use of a join token, if there is one."""
        self._drop(JOIN_USE, key)

    def set_identity(self, name: str, generation: int, index: int = 0) -> None:
        """Save the identity of this run of the agent.

        ``generation``: ms since the epoch at its boot. ``index``: no index of a lookup will exceed it before
        this is called again.
        """
        said = {"name": name, "generation": generation, "index": index}
        self._put(IDENTITY, "", json.dumps(said).encode())

    def set_drained(self, reason: str | None) -> None:
        """Save why this node drains; None: it does not."""
        if reason is None:
            self._drop(DRAIN, "")
        else:
            self._put(DRAIN, "", json.dumps({"reason": reason}).encode())

    def space_problem(self) -> str:
        """Why the next write may fail, as a sentence: a disk that is nearly full, or mounted read-only; or nothing."""
        with explained(self._directory):
            disk = os.statvfs(self._directory)
        if disk.f_flag & os.ST_RDONLY:
            return f"the disk of the data directory {self._directory} is read-only: mount it writable"
        free = disk.f_bavail * disk.f_frsize
        if free >= limits.DISK_FREE_MIN:
            return ""
        return f"the disk of the data directory {self._directory} is full, {free // 1024} KiB are left: free some space"

    def set_peers(self, addresses: Iterable[Address]) -> None:
        """Save the addresses of members that were lately alive, in place of those saved before."""
        self._put(PEERS, "", json.dumps(list(addresses)).encode())

    def _put(self, kind: str, key: str, body: bytes) -> None:
        checksum = checksum_of(kind.encode(), key.encode(), body)
        with explained(self._directory):
            self._connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (kind, key, body, checksum))

    def _drop(self, kind: str, key: str) -> None:
        with explained(self._directory):
            self._connection.execute("DELETE FROM entries WHERE kind = ? AND id = ?", (kind, key))

    def _set_row_aside(self, rowid: int) -> None:
        self._connection.execute("CREATE TABLE IF NOT EXISTS set_aside (kind, id, body, checksum)")
        copied = "INSERT INTO set_aside SELECT kind, id, body, checksum FROM entries WHERE rowid = ?"
        self._connection.execute(copied, (rowid,))
        self._connection.execute("DELETE FROM entries WHERE rowid = ?", (rowid,))


@attrs.define(eq=False, repr=False)
class _Batch:
    """Writes that share one commit, and its outcome."""

    writes: list[Callable[[], None]] = attrs.field(factory=list)
    durable: bool = False
    failure: str = ""


@attrs.define(eq=False, repr=False)
class AsyncStateStore:
    """A store for many tasks at once; blocking calls are made in a thread, one at a time.

    Writes that are asked for while another is being synced share the next sync, so that a thousand registrations
    at once cost a few. Each method returns when its own write is durable, or raises ``StorageError``. Writes are made
    in the order in which they were asked for. One that is cancelled may still be made.
    """

    _store: StateStore
    _turn: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _batch: _Batch = attrs.field(init=False, factory=_Batch)
    _failure: str = attrs.field(init=False, default="")  # why the last write failed
    _space: str = attrs.field(init=False, default="")  # why the next one may

    @classmethod
    async def open(cls, directory: Path) -> AsyncStateStore:
        """See `StateStore.open`."""
        return cls(await trio.to_thread.run_sync(StateStore.open, directory))

    async def load(self) -> SavedState:
        """See `StateStore.load`."""
        async with self._turn:
            return await trio.to_thread.run_sync(self._store.load)

    async def put_instances(self, instances: Rows, terms: Rows = _NO_ROWS) -> None:
        """See `StateStore.put_instances`; all of it, or nothing if the disk fails."""
        await self._write(functools.partial(self._store.put_instances, instances, terms))

    async def put_policy(self, key: str, word: bytes) -> None:
        """See `StateStore.put_policy`."""
        await self._write(functools.partial(self._store.put_policy, key, word))

    async def drop_policy(self, key: str) -> None:
        """See `StateStore.drop_policy`."""
        await self._write(functools.partial(self._store.drop_policy, key))

    async def put_term(self, service: str, register: bytes) -> None:
        """See `StateStore.put_term`."""
        await self._write(functools.partial(self._store.put_term, service, register))

    async def drop_term(self, service: str) -> None:
        """See `StateStore.drop_term`."""
        await self._write(functools.partial(self._store.drop_term, service))

    async def put_join_use(self, key: str, use: bytes) -> None:
        """See `StateStore.put_join_use`."""
        await self._write(functools.partial(self._store.put_join_use, key, use))

    async def drop_join_use(self, key: str) -> None:
        """See `StateStore.drop_join_use`."""
        await self._write(functools.partial(self._store.drop_join_use, key))

    async def put_checks(self, rows: Rows) -> None:
        """See `StateStore.put_checks`."""
        await self._write(functools.partial(self._store.put_checks, rows))

    async def set_aside(self, places: Iterable[Place]) -> None:
        """See `StateStore.set_aside`."""
        await self._write(functools.partial(self._store.set_aside, tuple(places)))

    async def set_identity(self, name: str, generation: int, index: int = 0) -> None:
        """See `StateStore.set_identity`."""
        await self._write(functools.partial(self._store.set_identity, name, generation, index))

    async def set_drained(self, reason: str | None) -> None:
        """See `StateStore.set_drained`."""
        await self._write(functools.partial(self._store.set_drained, reason))

    async def set_peers(self, addresses: Iterable[Address]) -> None:
        """See `StateStore.set_peers`."""
        await self._write(functools.partial(self._store.set_peers, tuple(addresses)))

    async def look_at_disk(self) -> None:
        """Look whether the next write may fail, for `problem`."""
        try:
            self._space = await trio.to_thread.run_sync(self._store.space_problem)
        except StorageError as error:
            self._space = str(error)

    @property
    def problem(self) -> str:
        """Why the last write failed, or the next one may, as a sentence; empty if all is well."""
        return self._failure or self._space

    def disown(self) -> None:
        """See `StateStore.disown`."""
        self._store.disown()

    async def close(self) -> None:
        """Release the directory, even if cancelled; writes asked for before this are made first."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                await trio.to_thread.run_sync(self._store.close)

    async def _write(self, write: Callable[[], None]) -> None:
        batch = self._batch
        batch.writes.append(write)
        async with self._turn:
            if batch is self._batch:  # the first of a batch to get the lock commits for all
                self._batch = _Batch()
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._commit, batch)
        self._failure = batch.failure
        if batch.failure:
            raise StorageError(batch.failure)
        assert batch.durable

    def _commit(self, batch: _Batch) -> None:
        try:
            with self._store.transaction():
                for write in batch.writes:
                    write()
        except StorageError as error:
            batch.failure = str(error)
        else:
            batch.durable = True


def _take(lock: int, directory: Path) -> None:
    """Lock the open lock file, and write the id of this process into it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode(errors="replace") or "unknown"
        raise StorageError(
            f"the data directory {directory} is in use by process {holder}: "
            "stop that agent, or give this one another --data-dir"
        ) from None
    with contextlib.suppress(OSError):  # the lock is what counts: a full disk must not keep an agent from starting
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
