"""Go programs, built for a test with modules of the Go module proxy: those of the docs' pages, and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.peers.stage import adapted, written
from tests.peers.suites.go_module import go


def build_program(
    tmp_path_factory: pytest.TempPathFactory,
    page: str,
    number: int,
    modules: Sequence[str],
    places: Mapping[str, object],
) -> Path:
    """Build the so-manieth Go program of a page with ``modules``, each ``path@version``; returns the program.

    ``places`` are replaced in its text. Skips the test when the modules cannot be had.
    """
    directory = tmp_path_factory.mktemp("go")
    (directory / "go.mod").write_text("module application\n\ngo 1.23\n")
    (directory / "main.go").write_text(adapted(written(page, "go", number), places))
    go(directory, "get", *modules)
    go(directory, "build", "-o", "program", ".")
    return directory / "program"


def build_command(tmp_path_factory: pytest.TempPathFactory, module: str, version: str) -> Path:
    """Build the command that is a module; returns it. Skips the test when the module cannot be had."""
    directory = tmp_path_factory.mktemp("go")
    (directory / "go.mod").write_text("module application\n\ngo 1.23\n")
    go(directory, "get", f"{module}@v{version}")
    go(directory, "build", "-o", "command", module)
    return directory / "command"
