"""HashiCorp's own client for Go, which most programs that speak to Consul are built on, registers and discovers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.peers.consul.programs import Program, set_the_stage
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("go") is None, reason="go is not installed (Debian: golang-go)"),
]

VERSION: Final = "1.32.1"

_MODULE: Final = "github.com/hashicorp/consul/api"

#: The page's program is built before there is an agent, so it takes the address that it is given.
_ADDRESS: Final = '"127.0.0.1:8500"'


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's program, built with the client of the Go module proxy."""
    directory = tmp_path_factory.mktemp("go")
    source = adapted(written("clients/consul.md", "go"), {_ADDRESS: "os.Args[1]", '"log"': '"log"\n\t"os"'})
    (directory / "main.go").write_text(source)
    _go(directory, "mod", "init", "program")
    try:
        got = _go(directory, "get", f"{_MODULE}@v{VERSION}")
    except subprocess.TimeoutExpired:
        pytest.skip(f"go did not get {_MODULE} within 180 s")
    if got.returncode != 0:
        pytest.skip(f"go cannot get {_MODULE}: {got.stderr[-300:]}")
    built = _go(directory, "build", "-o", "program", ".")
    assert built.returncode == 0, built.stderr
    return directory / "program"


def _go(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["go", *arguments], cwd=directory, capture_output=True, text=True, timeout=180, check=False)


async def test_it_registers_and_discovers_as_the_page_says(tmp_path: Path, program: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await set_the_stage(stage)
        log = tmp_path / "program.log"
        async with running(log, program, stage.alpha.http):
            seconds = await Program(log, stage).is_put_through(weight=3)
    record(
        client="consul/api (Go)",
        version=VERSION,
        api="Consul",
        did="registers and renews by ttl; follows a service by blocking queries",
        weights="registered, and told to the program",
        seconds=seconds,
    )
