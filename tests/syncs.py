"""Records what is synced to disk during a test, and the names in the directory at that moment."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal, NamedTuple

import pytest


class Sync(NamedTuple):
    """One sync: of a file or of a directory, and the names in that directory then."""

    of: Literal["file", "directory"]
    names: frozenset[str]


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[Sync]:
    """The syncs that Python code makes from now on; SQLite makes its own, which are not seen here."""
    seen: list[Sync] = []
    fsync = os.fsync

    def noting(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        of: Literal["file", "directory"] = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        seen.append(Sync(of, frozenset(os.listdir(path if of == "directory" else path.parent))))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noting)
    return seen
