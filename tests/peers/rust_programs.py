"""Rust programs of the docs' pages, built for a test with crates of crates.io.

What was compiled is kept in the cache of the user, as Go and Maven keep theirs: cargo shares nothing between projects.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

#: How long fetching and building may take (seconds). A first build takes 80 s of CPU.
_PATIENCE: Final = 600

#: The mark of tests that need it.
needs_cargo = pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed (https://rustup.rs)")

_MANIFEST: Final = """\
[package]
name = "application"
version = "0.1.0"
edition = "2024"

[dependencies]
{dependencies}

[profile.dev]
debug = false
"""


def build_source(directory: Path, source: str, crates: Mapping[str, str]) -> Path:
    """Build a program of one file with ``crates``, their requirements in TOML by name; returns the program.

    Skips the test when they cannot be had, or need a later compiler.
    """
    (directory / "src").mkdir(parents=True)
    dependencies = "\n".join(f"{name} = {requirement}" for name, requirement in crates.items())
    (directory / "Cargo.toml").write_text(_MANIFEST.format(dependencies=dependencies))
    (directory / "src" / "main.rs").write_text(source)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    kept = home / "gossipreg-tests" / "rust"
    try:
        done = subprocess.run(
            ["cargo", "build", "--quiet", "--target-dir", str(kept)],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"cargo build took more than {_PATIENCE} s")
    if done.returncode != 0:
        pytest.skip(f"cargo build failed: {done.stderr[-300:]}")
    return Path(shutil.copy2(kept / "debug" / "application", directory / "program"))
