"""HashiCorp's own client for Go, which most programs that speak to Consul are built on, registers and discovers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.consul.programs import Program, set_the_stage
from tests.peers.go_programs import CONSUL_API
from tests.peers.results import record
from tests.peers.stage import open_stage, running
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go]


async def test_it_registers_and_discovers_as_the_page_says(tmp_path: Path, consul_go_program: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await set_the_stage(stage)
        log = tmp_path / "program.log"
        async with running(log, consul_go_program, stage.alpha.http):
            seconds = await Program(log, stage).is_put_through(weight=3)
    record(
        client="consul/api (Go)",
        version=CONSUL_API,
        api="Consul",
        did="registers and renews by ttl; follows a service by blocking queries",
        weights="registered, and told to the program",
        seconds=seconds,
    )
