"""Builds the Go programs of `tests/bench/peers`: members of memberlist, clients of etcd, ZooKeeper and Eureka."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.bench.processes import BenchError

SOURCES: Final = Path(__file__).parent / "peers"

#: How long fetching the modules and building may take (seconds). A cold build compiles Go's standard library.
_PATIENCE: Final = 240


def build(names: Sequence[str], directory: Path) -> dict[str, Path]:
    """Build the programs below ``directory``; by name, where they are. Raises ``BenchError`` if they cannot be had."""
    if shutil.which("go") is None:
        raise BenchError("go is not installed (Debian: golang-go)")
    sources = directory / "sources"
    shutil.copytree(SOURCES, sources, dirs_exist_ok=True)
    command = ["go", "build", "-mod=mod", "-o", f"{directory}/", *(f"./{name}" for name in names)]
    try:
        done = subprocess.run(command, cwd=sources, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"building {', '.join(names)} took more than {_PATIENCE} s") from None
    if done.returncode != 0:
        raise BenchError(f"{', '.join(names)} cannot be built: {done.stderr[-300:]}")
    return {name: directory / name for name in names}
