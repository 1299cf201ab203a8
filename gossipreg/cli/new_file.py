"""A new file: written once, where nothing is overwritten, and a secret for this user alone."""

from __future__ import annotations

import os
from pathlib import Path

from gossipreg.errors import GossipregError
from gossipreg.runtime.files import MAKE


def write_once(path: Path, text: str, *, secret: bool = True) -> None:
    """Write ``text`` and a line end into a new file. Raises `GossipregError` if it exists or cannot be written."""
    try:
        descriptor = os.open(path, MAKE, 0o600 if secret else 0o644)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise GossipregError(
            f"{path} exists and is not overwritten: name another file, or remove this one first"
        ) from None
    except OSError as error:
        raise GossipregError(f"cannot write {path}: {error.strerror}") from None
