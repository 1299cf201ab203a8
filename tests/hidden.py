"""Files that only this user may read, as keys, tokens and passwords must be kept."""

from __future__ import annotations

import os
from pathlib import Path


def hidden(file: Path, content: str | bytes) -> Path:
    """Write ``file`` with mode 0600, whatever it was before."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as made:
        os.fchmod(descriptor, 0o600)
        made.write(content if isinstance(content, bytes) else content.encode())
    return file
