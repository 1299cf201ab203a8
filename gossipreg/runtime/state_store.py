"""What outlives a crash of an agent, in one checked file: name, generation, peers, registrations, policies, terms.

The file is an SQLite database that is synced at every commit: a write that returned is on the disk, and one that did
not has happened wholly or not at all. Beyond that, nothing in the data directory is trusted:

- A database lands in the directory complete, by a rename. So one that is there and is not whole was damaged, however
  little is left of it; it is set aside under another name, and a new one is begun.
- A database of a later version, or of another user, is set aside likewise.
- Every row carries a checksum over its key and its body. A row that fails it is moved to the table ``set_aside``, and
  so is one that is whole, but that this version cannot use.
- All that is told in `SavedState.warnings`, and none of it stops the agent.
- A lock that the kernel drops with the process that holds it keeps a second agent out.

The journal is a rollback journal, not a write-ahead log. SQLite takes the first damaged frame of such a log for its
end: one flipped bit, and all that was committed since the last checkpoint is gone without a word. A rollback journal
holds nothing that matters once its transaction is done; here it costs a second sync a commit, shared by all who wait.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import trio

from gossipreg.errors import StorageError, UnsafeFile
from gossipreg.model import Address
from gossipreg.runtime.files import MAKE, check_directory, check_regular, check_status
from gossipreg.runtime.saved_state import (
    CHECKS,
    DRAIN,
    IDENTITY,
    INSTANCE,
    PEERS,
    POLICY,
    TERM,
    Place,
    SavedState,
    StateRows,
)

if TYPE_CHECKING:
    import sqlite3  # loaded by `StateStore.open` only: most embedded nodes keep nothing

DATABASE: Final = "gossipreg.db"
LOCK: Final = "gossipreg.lock"

#: A link in the lock's place would have another file locked and emptied, a pipe would wait for a reader.
_LOCK_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: Raised when the table changes. Every version keeps the row that tells it where `_damage` looks.
_SCHEMA: Final = 1
_TABLE: Final = """
    CREATE TABLE entries (
        kind TEXT NOT NULL, id TEXT NOT NULL, body BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (kind, id)
    )
"""
_SETTINGS: Final = (
    "locking_mode = EXCLUSIVE",  # a reader must not hold up a registration
    "journal_mode = PERSIST",  # to overwrite the head of a file is quicker than to remove it
    "synchronous = FULL",
    "cell_size_check = ON",
)

#: What SQLite says when the trouble is the place, the disk or another program, not what the file holds.
_NOT_IN_THE_FILE: Final = tuple(
    f"SQLITE_{name}" for name in ("PERM", "BUSY", "LOCKED", "NOMEM", "IOERR", "FULL", "CANTOPEN")
)


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
        """Take ``directory`` for this process; it is made if missing, for its owner only.

        Raises ``StorageError`` if another process has it, or if it cannot be written, and ``UnsafeFile`` if others can
        change what is in it. A database that cannot be used is
        set aside under another name, and a new one begun.
        """
        with _explained(directory), contextlib.ExitStack() as undo:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_directory(directory)
            lock = os.open(directory / LOCK, _LOCK_FLAGS, 0o600)
            undo.callback(os.close, lock)
            check_regular(os.fstat(lock))
            _take(lock, directory)
            connection, warnings = _open_database(directory / DATABASE)
            undo.pop_all()
        return cls(directory, connection, lock, warnings)

    def close(self) -> None:
        """Give the directory up. Nothing else may be called after this."""
        with _explained(self._directory):
            try:
                self._connection.close()
            finally:
                os.close(self._lock)

    def disown(self) -> None:
        """Let go of this process's copy of the lock, in a fork of the one that has the directory."""
        os.close(self._lock)

    def load(self) -> SavedState:
        """Everything saved that can be used; rows that cannot are moved to the table ``set_aside``."""
        found, unusable, warnings = StateRows(), [], list(self._warnings)
        with _explained(self._directory):
            rows = self._connection.execute("SELECT rowid, kind, id, body, checksum FROM entries").fetchall()
        for rowid, kind, key, body, checksum in rows:
            whole = _is_whole(kind, key, body, checksum)
            flaw = found.read(kind, key, body) if whole else "it is damaged"
            if flaw is not None:
                unusable.append(rowid)
                row = f"{_shown(kind)} {_shown(key)}".rstrip()
                warnings.append(
                    f"{self._directory / DATABASE}: a row that cannot be used ({row}) is set aside in the table "
                    f"set_aside: {_shown(flaw)}"
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
        with _explained(self._directory):
            for place in places:
                for (rowid,) in self._connection.execute("SELECT rowid FROM entries WHERE kind = ? AND id = ?", place):
                    self._set_row_aside(rowid)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Within it, writes are made all together when it ends, or none of them if it fails."""
        with _explained(self._directory):
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
        """Forget a registration and how its checks stood, if there is one of that id."""
        self._drop(INSTANCE, instance_id)
        self._drop(CHECKS, instance_id)

    def put_checks(self, rows: Mapping[str, bytes | None]) -> None:
        """Save how ttl checks stand, packed, by the ids of their instances; None: forget it."""
        for instance_id, body in rows.items():
            if body is None:
                self._drop(CHECKS, instance_id)
            else:
                self._put(CHECKS, instance_id, body)

    def put_policy(self, key: str, word: bytes) -> None:
        """Save the last word about a policy, packed, in place of the one before."""
        self._put(POLICY, key, word)

    def drop_policy(self, key: str) -> None:
        """Forget the last word about a policy, if there is one."""
        self._drop(POLICY, key)

    def put_term(self, service: str, register: bytes) -> None:
        """Save the term register of a service, packed, in place of the one before."""
        self._put(TERM, service, register)

    def drop_term(self, service: str) -> None:
        """Forget the term register of a service, if there is one."""
        self._drop(TERM, service)

    def set_identity(self, name: str, generation: int, index: int = 0) -> None:
        """Save who this run of the agent is.

        ``generation``: ms since the epoch at its boot. ``index``: what no index of a lookup will exceed before this is
        called again.
        """
        said = {"name": name, "generation": generation, "index": index}
        self._put(IDENTITY, "", json.dumps(said).encode())

    def set_drained(self, reason: str | None) -> None:
        """Save why this node asks for no new work; None: it takes work."""
        if reason is None:
            self._drop(DRAIN, "")
        else:
            self._put(DRAIN, "", json.dumps({"reason": reason}).encode())

    def set_peers(self, addresses: Iterable[Address]) -> None:
        """Save where members were lately alive, in place of what was saved before."""
        self._put(PEERS, "", json.dumps(list(addresses)).encode())

    def _put(self, kind: str, key: str, body: bytes) -> None:
        checksum = _checksum(kind.encode(), key.encode(), body)
        with _explained(self._directory):
            self._connection.execute("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", (kind, key, body, checksum))

    def _drop(self, kind: str, key: str) -> None:
        with _explained(self._directory):
            self._connection.execute("DELETE FROM entries WHERE kind = ? AND id = ?", (kind, key))

    def _set_row_aside(self, rowid: int) -> None:
        self._connection.execute("CREATE TABLE IF NOT EXISTS set_aside (kind, id, body, checksum)")
        copied = "INSERT INTO set_aside SELECT kind, id, body, checksum FROM entries WHERE rowid = ?"
        self._connection.execute(copied, (rowid,))
        self._connection.execute("DELETE FROM entries WHERE rowid = ?", (rowid,))


@attrs.define(eq=False, repr=False)
class _Batch:
    """Writes that share one commit, and what came of it."""

    writes: list[Callable[[], None]] = attrs.field(factory=list)
    durable: bool = False
    failure: str = ""


@attrs.define(eq=False, repr=False)
class AsyncStateStore:
    """A store that many tasks may use at once; the blocking is done in a thread, one call at a time.

    Writes that are asked for while another is being synced share the next sync, so that a thousand registrations
    at once cost a few. Each method returns when its own write is durable, or raises ``StorageError``. Writes are made
    in the order in which they were asked for. One that is cancelled may still be made.
    """

    _store: StateStore
    _turn: trio.Lock = attrs.field(init=False, factory=trio.Lock)
    _batch: _Batch = attrs.field(init=False, factory=_Batch)

    @classmethod
    async def open(cls, directory: Path) -> AsyncStateStore:
        """See `StateStore.open`."""
        return cls(await trio.to_thread.run_sync(StateStore.open, directory))

    async def load(self) -> SavedState:
        """See `StateStore.load`."""
        async with self._turn:
            return await trio.to_thread.run_sync(self._store.load)

    async def put(self, instance_id: str, payload: bytes, *, term: tuple[str, bytes] | None = None) -> None:
        """See `StateStore.put_instance`; with a service and its packed term register in ``term``, both or neither."""
        await self._write(functools.partial(self._store.put_instance, instance_id, payload), term)

    async def drop(self, instance_id: str, *, term: tuple[str, bytes] | None = None) -> None:
        """See `StateStore.drop_instance`; with a service and its packed term register in ``term``, both or neither."""
        await self._write(functools.partial(self._store.drop_instance, instance_id), term)

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

    async def put_checks(self, rows: Mapping[str, bytes | None]) -> None:
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

    def disown(self) -> None:
        """See `StateStore.disown`."""
        self._store.disown()

    async def close(self) -> None:
        """Give the directory up, even if cancelled; writes asked for before this are made first."""
        with trio.CancelScope(shield=True):
            async with self._turn:
                await trio.to_thread.run_sync(self._store.close)

    async def _write(self, write: Callable[[], None], term: tuple[str, bytes] | None = None) -> None:
        batch = self._batch
        if term is not None:
            batch.writes.append(functools.partial(self._store.put_term, *term))
        batch.writes.append(write)
        async with self._turn:
            if batch is self._batch:  # the first of a batch to get its turn commits for all
                self._batch = _Batch()
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._commit, batch)
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


def _checksum(kind: bytes, key: bytes, body: bytes) -> bytes:
    digest = hashlib.blake2b(b"%d %d " % (len(kind), len(key)), digest_size=16, person=b"gossipreg row")
    for part in (kind, key, body):
        digest.update(part)
    return digest.digest()


def _is_whole(kind: object, key: object, body: object, checksum: object) -> bool:
    """Whether a row is as it was written. Damage can change even the types of its values."""
    if not (isinstance(kind, bytes) and isinstance(key, bytes) and isinstance(body, bytes)):
        return False
    return checksum == _checksum(kind, key, body)


def _shown(value: object) -> str:
    """A damaged value as it goes into a sentence."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return ascii(text[:80])[1:-1]


@contextlib.contextmanager
def _explained(directory: Path) -> Iterator[None]:
    """Turn what the disk or SQLite says into one sentence with its remedy."""
    import sqlite3

    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise StorageError(f"cannot use the data directory {directory}: {reason}: {_remedy(error)}") from error


def _remedy(error: Exception) -> str:
    code = _code(error)
    if code.startswith("SQLITE_FULL") or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return "free some space on its disk"
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "start the agent again, and it sets the damaged file aside"
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return f"close the program that reads {DATABASE}"
    return "make it a directory that this user can write, or give another --data-dir"


def _code(error: Exception) -> str:
    """The name of SQLite's result code; nothing if the error is not its own."""
    return getattr(error, "sqlite_errorname", "")


def _take(lock: int, directory: Path) -> None:
    """Lock the open lock file, and write into it who did."""
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


def _open_database(path: Path) -> tuple[sqlite3.Connection, tuple[str, ...]]:
    """A database that is whole: the one at ``path`` or, with warnings, a new one in its place."""
    warnings: list[str] = []
    for _ in range(2):
        _check_files(path)
        if path.exists() and not os.access(path, os.R_OK | os.W_OK) and os.access(path.parent, os.W_OK):
            warnings.append(_set_aside(path, "this user may not read and write it"))
        if not path.exists():
            if _journal(path).exists():  # SQLite would roll it back into the new database
                warnings.append(_set_aside(path, "only its journal is left"))
            _create(path)
        with contextlib.ExitStack() as undo:
            connection = _connect(path)
            undo.callback(connection.close)
            damage = _damage(connection, path)
            if damage is None:
                undo.pop_all()
                return connection, tuple(warnings)
        warnings.append(_set_aside(path, damage))
    raise StorageError(f"cannot use the data directory {path.parent}: even a new {path.name} is damaged: {damage}")


def _check_files(path: Path) -> None:
    """Raise ``UnsafeFile`` for a link in place of the database or its journal, and for one that others can change."""
    for file in (path, _journal(path)):
        try:
            status = file.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISLNK(status.st_mode):
            raise UnsafeFile(f"{file} is a link, and SQLite would follow it: put the file itself there, or remove it")
        if os.access(file, os.R_OK | os.W_OK):
            check_status(file, status)


def _connect(path: Path) -> sqlite3.Connection:
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.text_factory = bytes  # damaged text need not be UTF-8
    return connection


def _damage(connection: sqlite3.Connection, path: Path) -> str | None:
    """Make ``connection`` ready, and tell why the database cannot be used, if it cannot.

    Raises what SQLite raises if the cause is not in the file.
    """
    import sqlite3

    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        (finding,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if finding != b"ok":
            return _shown(finding)
        row = connection.execute("SELECT kind, id, body, checksum FROM entries WHERE kind = 'schema'").fetchone()
        if row is None or not _is_whole(*row):
            return "its schema version cannot be read"
        if int(row[2]) > _SCHEMA:
            return "a later gossipreg wrote it: to use it again, upgrade and put it back"
        _try_to_write(connection)
    except ValueError:  # SQLite quotes damaged names in what it says
        return "its tables are not readable"
    except sqlite3.DatabaseError as error:
        if _is_elsewhere(error, path):
            raise
        return str(error)
    return None


def _try_to_write(connection: sqlite3.Connection) -> None:
    """Raise now what a registration would: a wrong place is a mistake to be told at the start.

    A full disk is not. The agent can still read what it has to offer, and says at each write that nothing is kept.
    """
    import sqlite3

    try:
        connection.execute(f"PRAGMA user_version = {_SCHEMA}")
    except sqlite3.OperationalError as error:
        if not _code(error).startswith("SQLITE_FULL"):
            raise


def _is_elsewhere(error: Exception, path: Path) -> bool:
    """Whether SQLite could not get at the file, rather than got at it and found it damaged."""
    code = _code(error)
    if code.startswith("SQLITE_READONLY"):  # also said of a file whose damaged head asks for a later SQLite
        return not os.access(path, os.W_OK)
    return code.startswith(_NOT_IN_THE_FILE)


def _create(path: Path) -> None:
    """Put an empty database at ``path``: whole or not at all."""
    new = path.with_name(path.name + ".new")
    for leftover in (new, _journal(new)):
        leftover.unlink(missing_ok=True)
    os.close(os.open(new, MAKE, 0o600))  # SQLite alone would let others read it
    with contextlib.closing(_connect(new)) as connection:
        version = str(_SCHEMA).encode()
        connection.execute(_TABLE)
        row = ("schema", "", version, _checksum(b"schema", b"", version))
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
    new.rename(path)
    _sync_directory(path.parent)


def _set_aside(path: Path, damage: str) -> str:
    """Rename the database and its journal; the sentence that tells it.

    The database goes first: left behind without its journal by a crash, it could look whole.
    """
    names = (path.with_name(f"{path.name}.corrupt-{n}") for n in itertools.count(1))
    aside = next(name for name in names if not name.exists() and not _journal(name).exists())
    for old, new in ((path, aside), (_journal(path), _journal(aside))):
        if old.exists():
            old.rename(new)
    _sync_directory(path.parent)
    return f"{path} cannot be used ({damage}): it was set aside under the name {aside.name}, and a new one begun"


def _journal(path: Path) -> Path:
    """The file beside a database in which SQLite keeps what a transaction overwrites."""
    return path.with_name(path.name + "-journal")


def _sync_directory(directory: Path) -> None:
    """Make renames within ``directory`` outlive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
