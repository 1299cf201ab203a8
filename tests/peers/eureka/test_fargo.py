"""A real fargo registers and renews over Eureka's API, discovers, and goes on when its agent restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.go_programs import build_program
from tests.peers.results import record
from tests.peers.stage import open_stage, running
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go]

VERSION: Final = "1.4.0"

_MODULES: Final = (f"github.com/hudl/fargo@v{VERSION}",)
_PLACES: Final = {'"http://127.0.0.1:8500/eureka"': '"http://" + os.Args[1] + "/eureka"', '"fmt"': '"fmt"\n\t"os"'}


async def test_it_works_as_the_page_says_and_outlives_its_agent(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    program = build_program(tmp_path_factory, "clients/go.md", 2, _MODULES, _PLACES)
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        log = tmp_path / "program.log"
        async with running(log, program, stage.alpha.http):
            seconds = await Application(log, stage).is_put_through()
    record(
        client="fargo (Go)",
        version=VERSION,
        api="Eureka",
        did="registers, renews and asks every second; registers again when its killed agent is back",
        weights="not used",
        seconds=seconds,
    )
