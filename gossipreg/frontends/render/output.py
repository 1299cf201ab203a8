"""Output: replaces a file atomically, so that a reader finds either the old text or the new one, whole.

The new text goes to a temporary file beside it, which this process holds locked until it replaces the file. A process
that is killed leaves it behind, unlocked; the next one that writes the file removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from gossipreg.errors import StorageError
from gossipreg.runtime.files import FileTooLarge, check_regular, read_file

_SUFFIX: Final = ".gossipreg"


def replace(file: Path, text: str) -> bool:
    """Make ``text`` the content of ``file``; returns whether it was not already.

    Mode and owner stay as they are; a new file is readable by all users. What a symbolic link leads to is replaced,
    not the link. When it returns the text survives a crash of the machine. Raises ``StorageError``.
    """
    try:
        return _replace(Path(os.path.realpath(file)), text.encode())
    except UnicodeEncodeError:
        raise StorageError(
            f"cannot write {file}: the text holds half a surrogate pair, which is no character"
        ) from None
    except OSError as error:
        raise StorageError(f"cannot write {file}: {(error.strerror or str(error)).lower()}") from None


def _replace(file: Path, content: bytes) -> bool:
    with contextlib.suppress(FileNotFoundError):
        if _is_just(file, content):
            return False
    _remove_stale(file)
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=_SUFFIX, dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as new:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.write(content)
            _dress(descriptor, file)
            new.flush()
            os.fsync(descriptor)
        os.replace(name, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


def _remove_stale(file: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote ``file``."""
    name = re.compile(rf"\.{re.escape(file.name)}\.\w{{8}}{re.escape(_SUFFIX)}")
    for each in file.parent.iterdir():
        if name.fullmatch(each.name):
            with contextlib.suppress(OSError):  # another process holds it locked, or was faster
                descriptor = os.open(each, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    check_regular(os.fstat(descriptor))
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(each)
                finally:
                    os.close(descriptor)


def _is_just(file: Path, content: bytes) -> bool:
    """Whether that is all there is in the file. Raises ``OSError`` for what is no file: it must not be replaced."""
    with contextlib.suppress(FileTooLarge):
        return read_file(file, len(content)).content == content
    return False


def _dress(descriptor: int, file: Path) -> None:
    """Give the open file the mode and the owner of the one that it will replace."""
    try:
        old = file.stat()
    except FileNotFoundError:
        os.fchmod(descriptor, 0o644)
        return
    with contextlib.suppress(PermissionError):  # only root can give files away; the mode matters more
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))
