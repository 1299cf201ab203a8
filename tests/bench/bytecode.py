"""Bytecode for agents that start as an installed package does: compiled once, whatever the environment's settings."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def bytecode_kept() -> Iterator[None]:
    """Have processes that are started meanwhile keep their bytecode in one directory, which is removed in the end.

    Where PYTHONDONTWRITEBYTECODE is set, every agent would compile every source again: half a second each.
    """
    names = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    with tempfile.TemporaryDirectory(prefix="gossipreg-bytecode-") as directory:
        os.environ["PYTHONPYCACHEPREFIX"] = directory
        try:
            yield
        finally:
            del os.environ["PYTHONPYCACHEPREFIX"]
            os.environ.update(before)
