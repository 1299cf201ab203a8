"""Go programs, built for a test with modules of the Go module proxy: those of the docs' pages, and commands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.peers.stage import adapted, written
from tests.peers.suites.go_module import go

#: Versions of what several tests run: Consul's own client for Go, and consul-template.
CONSUL_API: Final = "1.32.1"
CONSUL_TEMPLATE: Final = "0.41.1"

CONSUL_GO_MODULES: Final = (f"github.com/hashicorp/consul/api@v{CONSUL_API}",)

#: The page's program is built before there is an agent, so it takes the address that it is given.
CONSUL_GO_PLACES: Final = {'"127.0.0.1:8500"': "os.Args[1]", '"log"': '"log"\n\t"os"'}


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
    return build_source(tmp_path_factory, adapted(written(page, "go", number), places), modules)


def build_source(tmp_path_factory: pytest.TempPathFactory, source: str, modules: Sequence[str]) -> Path:
    """Build a program of one file with ``modules``; returns it. Skips the test when the modules cannot be had."""
    directory = tmp_path_factory.mktemp("go")
    (directory / "go.mod").write_text("module application\n\ngo 1.23\n")
    (directory / "main.go").write_text(source)
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
