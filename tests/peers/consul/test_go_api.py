"""HashiCorp's own client for Go, which most programs that speak to Consul are built on, registers and discovers."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.peers.consul.programs import Program, set_the_stage
from tests.peers.go_programs import build_program
from tests.peers.results import record
from tests.peers.stage import open_stage, running
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go]

VERSION: Final = "1.32.1"

#: The page's program is built before there is an agent, so it takes the address that it is given.
PLACES: Final = {'"127.0.0.1:8500"': "os.Args[1]", '"log"': '"log"\n\t"os"'}

MODULES: Final = (f"github.com/hashicorp/consul/api@v{VERSION}",)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's program, built with the client of the Go module proxy."""
    return build_program(tmp_path_factory, "clients/consul.md", 0, MODULES, PLACES)


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
