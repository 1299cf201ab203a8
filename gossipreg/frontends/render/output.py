"""Output: replaces a file atomically, so that a reader finds either the old text or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from gossipreg.errors import StorageError
from gossipreg.runtime.files import FileTooLarge, read_file


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
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".tmp", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
            _dress(descriptor, file)
            new.flush()
            os.fsync(descriptor)
        os.replace(name, file)
    except BaseException:
        os.unlink(name)
        raise
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return True


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
