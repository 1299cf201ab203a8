"""State database: the SQLite file of a data directory, opened whole or replaced, with a checksum on every row.

The file is synced at every commit: a write that returned is on the disk, and one that did not has happened wholly or
not at all. Beyond that, nothing in the data directory is trusted:

- A database lands in the directory complete, by a rename. So one that is there and is not whole was damaged, however
  little is left of it; it is set aside under another name, and a new one is begun.
- A database of a later version, or of another user, is set aside likewise.
- Every row carries a checksum over its key and its body.

The journal is a rollback journal, not a write-ahead log. SQLite takes the first damaged frame of such a log for its
end: one flipped bit, and all that was committed since the last checkpoint is gone without a word. A rollback journal
holds nothing that matters once its transaction is done; it costs a second sync a commit, shared by all waiting writes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gossipreg.errors import StorageError, UnsafeFile
from gossipreg.runtime.files import MAKE, check_status, sync_directory

if TYPE_CHECKING:
    import sqlite3  # loaded when a database is opened: most embedded nodes keep nothing

DATABASE: Final = "gossipreg.db"

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

#: Result codes by which SQLite blames the place, the disk or another program, not what the file holds.
_NOT_IN_THE_FILE: Final = tuple(
    f"SQLITE_{name}" for name in ("PERM", "BUSY", "LOCKED", "NOMEM", "IOERR", "FULL", "CANTOPEN")
)


def checksum_of(kind: bytes, key: bytes, body: bytes) -> bytes:
    """The checksum of a row."""
    digest = hashlib.blake2b(b"%d %d " % (len(kind), len(key)), digest_size=16, person=b"gossipreg row")
    for part in (kind, key, body):
        digest.update(part)
    return digest.digest()


def is_whole(kind: object, key: object, body: object, checksum: object) -> bool:
    """Whether a row is as it was written. Damage can change even the types of its values."""
    if not (isinstance(kind, bytes) and isinstance(key, bytes) and isinstance(body, bytes)):
        return False
    return checksum == checksum_of(kind, key, body)


def shown_bytes(value: object) -> str:
    """A damaged value as an error message quotes it."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return ascii(text[:80])[1:-1]


@contextlib.contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn errors of the disk or of SQLite into one sentence with a remedy."""
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


def open_database(path: Path) -> tuple[sqlite3.Connection, tuple[str, ...]]:
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
    """Configure ``connection``. Returns why the database cannot be used, if it cannot.

    Raises what SQLite raises if the cause is not in the file.
    """
    import sqlite3

    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        (finding,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if finding != b"ok":
            return shown_bytes(finding)
        row = connection.execute("SELECT kind, id, body, checksum FROM entries WHERE kind = 'schema'").fetchone()
        if row is None or not is_whole(*row):
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
    """Raise now what a registration would raise: a directory that cannot be written is reported at the start.

    A full disk is not. The agent can still read its registrations, and reports at each write that nothing is stored.
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
    """Create an empty database at ``path``, whole or not at all."""
    new = path.with_name(path.name + ".new")
    for leftover in (new, _journal(new)):
        leftover.unlink(missing_ok=True)
    os.close(os.open(new, MAKE, 0o600))  # SQLite alone would let others read it
    with contextlib.closing(_connect(new)) as connection:
        version = str(_SCHEMA).encode()
        connection.execute(_TABLE)
        row = ("schema", "", version, checksum_of(b"schema", b"", version))
        connection.execute("INSERT INTO entries VALUES (?, ?, ?, ?)", row)
    new.rename(path)
    sync_directory(path.parent)


def _set_aside(path: Path, damage: str) -> str:
    """Rename the database and its journal. Returns the sentence that reports it.

    The database goes first: left behind without its journal by a crash, it could look whole.
    """
    names = (path.with_name(f"{path.name}.corrupt-{n}") for n in itertools.count(1))
    aside = next(name for name in names if not name.exists() and not _journal(name).exists())
    for old, new in ((path, aside), (_journal(path), _journal(aside))):
        if old.exists():
            old.rename(new)
    sync_directory(path.parent)
    return f"{path} cannot be used ({damage}): it was set aside under the name {aside.name}, and a new one begun"


def _journal(path: Path) -> Path:
    """The file beside a database in which SQLite keeps what a transaction overwrites."""
    return path.with_name(path.name + "-journal")
