"""The real consul of npm registers, and follows a service with its watch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.peers.consul.programs import Program, set_the_stage
from tests.peers.npm import install, needs_node
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    needs_node,
]

VERSION: Final = "2.0.1"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has the client, of the npm registry."""
    return install("consul", VERSION, tmp_path_factory.mktemp("npm"))


async def test_it_registers_and_watches_as_the_page_says(tmp_path: Path, modules: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await set_the_stage(stage)
        places = {"8500": stage.alpha.http.rpartition(":")[2]}
        file, log = tmp_path / "program.js", tmp_path / "program.log"
        file.write_text(adapted(written("clients/consul.md", "js"), places))
        environment = {**os.environ, "NODE_PATH": str(modules / "node_modules"), "NODE_NO_WARNINGS": "1"}
        async with running(log, "node", file, env=environment):
            program = Program(log, stage)
            seconds = await program.is_put_through(weight=3, role="primary")
            await stage.alpha.kill()
            again = await stage.agents.start("alpha", join=[stage.beta], bind=stage.alpha.gossip, http=stage.alpha.http)
            await stage.agents.agree([again, stage.beta])
            await stage.offer(stage.beta, "four")
            await program.finds({"three": 2, "four": 1})
    record(
        client="consul (npm)",
        version=VERSION,
        api="Consul",
        did="registers with weight and role in Meta, renews by ttl; watch() goes on when its killed agent is back",
        weights="registered, and told to the program",
        seconds=seconds,
    )
