"""Installs a client from the npm registry for a test, or gives the reason why it cannot."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

#: How long an installation may take (seconds).
_PATIENCE: Final = 90

#: The mark of tests that need it.
needs_node = pytest.mark.skipif(
    shutil.which("npm") is None or shutil.which("node") is None,
    reason="node or npm is not installed (Debian: nodejs npm)",
)


def install(package: str, version: str, directory: Path) -> Path:
    """Install ``package`` into ``directory``, which is returned. Skips the test when the registry cannot be had."""
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", f"{package}@{version}"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not install {package} within {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install {package}: {done.stderr.decode(errors='replace')[-200:]}")
    return directory
