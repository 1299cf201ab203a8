"""Files that a node reads or creates: neither a pipe, nor a link, nor another user can block or mislead it.

A file that is read must be regular, and is opened without waiting: a FIFO would block the process until something
writes to it. A file that only this user may change, or read, is refused in any other mode, with the command that fixes
that. A file that is created is created exclusively and through no link. Links to files that are *read* are followed:
Kubernetes mounts secrets that way.

Why a secret of root may be read by its group, and what to do in containers: docs/decisions/0039.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from gossipreg import limits
from gossipreg.errors import ConfigError, UnsafeFile
from gossipreg.nesting import check_depth

_ROOT: Final = 0
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ: Final = stat.S_IRGRP | stat.S_IROTH

#: Flags for creating a file: it must not exist yet, not even as a link.
MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class FileTooLarge(OSError):
    """A file has more bytes than are read."""


class ReadFile(NamedTuple):
    """A file's content, and its status when that was read."""

    path: Path
    content: bytes
    status: os.stat_result

    def check_secret(self, *, of_agent: bool = False) -> None:
        """Raise ``UnsafeFile`` if others may read the file, or if `check_trusted` would.

        ``of_agent``: an agent of this host reads the file, too, so root may let that one's group read it.
        """
        self._check(secret=True, of_agent=of_agent)

    def check_trusted(self) -> None:
        """Raise ``UnsafeFile`` if users other than this one and root may change or replace the file."""
        self._check(secret=False)

    def _check(self, *, secret: bool, of_agent: bool = False) -> None:
        check_status(self.path, self.status, secret=secret, of_agent=of_agent)
        check_parent(self.path)


def read_file(path: Path, most: int = limits.FILE_BYTES_MAX) -> ReadFile:
    """Read a regular file. Raises ``OSError``, also for anything else and for one of more than ``most`` bytes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        check_regular(status)
        content = file.read(most + 1)
    if len(content) > most:
        raise FileTooLarge(errno.EFBIG, f"it has more than {most} bytes")
    return ReadFile(path, content, status)


def read_secret(path: Path) -> bytes:
    """The content of a file that only this user may read. Raises ``OSError`` and ``UnsafeFile``."""
    read = read_file(path)
    read.check_secret()
    return read.content


def sync_directory(directory: Path) -> None:
    """Make renames within ``directory`` outlive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_regular(status: os.stat_result) -> None:
    """Raise ``OSError`` for a directory, a pipe, a device or a socket."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe, a device or a socket, not a file")


def check_directory(path: Path) -> None:
    """Raise ``UnsafeFile`` if users other than this one and root may change what is in a directory, or replace it.

    Raises ``OSError`` if it cannot be looked at.
    """
    check_status(path, path.stat())
    check_parent(path)


def check_status(path: Path, status: os.stat_result, *, secret: bool = False, of_agent: bool = False) -> None:
    """Raise ``UnsafeFile`` if this process must not use a file or directory of that ``status``."""
    found = flaw(path, status, os.geteuid(), secret=secret, of_agent=of_agent)
    if found is not None:
        raise UnsafeFile(found)


def check_parent(path: Path) -> None:
    """Raise ``UnsafeFile`` if every user may put something else in the place of ``path``."""
    parent = Path(os.path.realpath(path)).parent
    mode = parent.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise UnsafeFile(f"every user of this machine can replace {path}: run chmod o-w {_quoted(parent)}, or move it")


def flaw(path: Path, status: os.stat_result, user: int, *, secret: bool, of_agent: bool = False) -> str | None:
    """Why a process of ``user`` must not use a file or directory of that ``status``, in a sentence; None if it may.

    ``of_agent``: it is a secret of an agent, which may be another user's.
    """
    mode, owner = stat.S_IMODE(status.st_mode), status.st_uid
    if owner not in (user, _ROOT):
        each = "-R " if stat.S_ISDIR(status.st_mode) else ""
        return f"{path} belongs to {_user(owner)}, who can change it: run chown {each}{_user(user)} {_quoted(path)}"
    if secret and mode & (_OTHERS_READ | _OTHERS_WRITE) & ~_allowed_by_root(owner, user, of_agent=of_agent):
        who = "every user of this machine" if mode & (stat.S_IROTH | stat.S_IWOTH) else "its group"
        wanted = "640" if _allowed_by_root(owner, user, of_agent=of_agent) else "600"
        return f"{path} is secret, and {who} can open it (mode {mode:04o}): run chmod {wanted} {_quoted(path)}"
    if mode & _OTHERS_WRITE:
        who = "every user of this machine" if mode & stat.S_IWOTH else "its group"
        return f"{path} can be changed by {who} (mode {mode:04o}): run chmod go-w {_quoted(path)}"
    return None


def _allowed_by_root(owner: int, user: int, *, of_agent: bool) -> int:
    """Root may let a group read a secret: that is how systemd and Kubernetes hand one to a service's user."""
    return stat.S_IRGRP if owner == _ROOT and (user != _ROOT or of_agent) else 0


def _quoted(path: Path) -> str:
    import shlex  # only for a mistake

    return shlex.quote(str(path))


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def read_toml(
    file: Path, *, is_secret: Callable[[dict[str, Any]], bool] | None = None, trusted: bool = False
) -> dict[str, Any]:
    """The tables of a file. Raises ``ConfigError``, naming it.

    ``is_secret`` tells from the tables whether only this user may read the file; ``trusted``: only this user and root
    may change it. Raises ``UnsafeFile`` where that is not so.
    """
    import tomllib  # most programs run without a file

    try:
        read = read_file(file)
        document = tomllib.loads(read.content.decode())
        check_depth(document, limits.JSON_DEPTH_MAX)
        if is_secret is not None and is_secret(document):
            read.check_secret()
        elif trusted:
            read.check_trusted()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # also of numbers too long and tables too deep to read
        raise ConfigError(f"{file} is not TOML: {error}") from None
    return document
