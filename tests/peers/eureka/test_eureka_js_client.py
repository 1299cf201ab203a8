"""The real eureka-js-client registers and discovers, and goes on when its agent is killed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest

from tests.peers.eureka.application import is_put_through
from tests.peers.eureka.views import shows
from tests.peers.npm import install, needs_node
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    needs_node,
]

VERSION: Final = "4.5.0"

#: What an application would do with it: look another one up, and say what it is shown.
_APPLICATION = """
setInterval(() => {
  const found = client.getInstancesByAppId('BILLING').map((each) => [each.instanceId, each.status, each.port.$]);
  console.log('found', JSON.stringify(found.sort()));
}, 100);
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has the client, of the npm registry."""
    return install("eureka-js-client", VERSION, tmp_path_factory.mktemp("npm"))


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path, modules: Path) -> None:
    async with open_stage(tmp_path) as stage:
        await stage.offer(stage.gamma, "one", service="billing")
        places = {
            "127.0.0.1:8500": stage.beta.http,
            "10.0.0.6:8500": stage.alpha.http,
            "heartbeatInterval: 5000": "heartbeatInterval: 1000",
            "registryFetchInterval: 5000": "registryFetchInterval: 1000",
        }
        program, log = tmp_path / "application.js", tmp_path / "application.log"
        program.write_text(adapted(written("clients/eureka.md", "js"), places) + _APPLICATION)

        async def finds(name: str) -> None:
            found = [line.partition(" ")[2] for line in log.read_text().splitlines() if line.startswith("found ")]
            assert found
            assert json.loads(found[-1]) == [[name, "UP", stage.ports[name]]]

        environment = {**os.environ, "NODE_PATH": str(modules / "node_modules"), "NODE_NO_WARNINGS": "1"}
        async with running(log, "node", program, env=environment):
            seconds = await is_put_through(stage, "orders-1", finds)
        await shows(stage.alpha, "ORDERS", {})
    did = "registers, renews and discovers; its agent killed, it registers with the next one; takes its instance back"
    record(
        client="eureka-js-client",
        version=VERSION,
        api="Eureka",
        did=did,
        weights="taken from its metadata",
        seconds=seconds,
    )
