"""Output files: checks that a path is writable, and writing."""

from __future__ import annotations

from pathlib import Path

from gossipreg_sim.scenario import ScenarioError


def check_file(path: Path) -> None:
    """Raise `ScenarioError` if ``path`` is evidently not writable; called before the run."""
    if path.is_dir():
        raise ScenarioError(f"cannot write {path}: it is a directory")
    if not path.absolute().parent.is_dir():
        raise ScenarioError(f"cannot write {path}: there is no directory {path.parent}")


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``. Raises `ScenarioError`."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ScenarioError(f"cannot write {path}: {error.strerror}") from None
