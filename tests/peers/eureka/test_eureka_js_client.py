"""The real eureka-js-client registers and discovers, and goes on when its agent is killed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.drills.agents import Agent
from tests.drills.waiting import eventually
from tests.peers.eureka.views import owner, shows
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("npm") is None or shutil.which("node") is None,
        reason="node or npm is not installed (Debian: nodejs npm)",
    ),
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
    directory = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", f"eureka-js-client@{VERSION}"]
    try:
        done = subprocess.run(command, cwd=directory, capture_output=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install eureka-js-client within 90 s")
    if done.returncode != 0:
        pytest.skip(f"npm cannot install eureka-js-client: {done.stderr.decode(errors='replace')[-200:]}")
    return directory


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path, modules: Path) -> None:
    async with open_stage(tmp_path) as stage:
        alpha, beta, gamma = stage.alpha, stage.beta, stage.gamma
        await stage.offer(gamma, "one", service="billing")
        places = {
            "127.0.0.1:8500": beta.http,
            "10.0.0.6:8500": alpha.http,
            "heartbeatInterval: 5000": "heartbeatInterval: 1000",
            "registryFetchInterval: 5000": "registryFetchInterval: 1000",
        }
        program, log = tmp_path / "application.js", tmp_path / "application.log"
        program.write_text(adapted(written("dialects/eureka.md", "js"), places) + _APPLICATION)

        async def finds(*names: str) -> None:
            found = [line.partition(" ")[2] for line in log.read_text().splitlines() if line.startswith("found ")]
            assert found
            assert json.loads(found[-1]) == [[name, "UP", stage.ports[name]] for name in names]

        async def is_owned_by(agent: Agent) -> None:
            assert await owner(alpha, "orders", "orders-1") == agent.name

        environment = {**os.environ, "NODE_PATH": str(modules / "node_modules"), "NODE_NO_WARNINGS": "1"}
        async with running(log, "node", program, env=environment):
            await eventually(lambda: is_owned_by(beta), within=10)
            await shows(gamma, "ORDERS", {"orders-1": "UP"})
            [instance] = (await alpha.get("services/orders"))["instances"]
            assert (instance["weight"], instance["host"], instance["port"]) == (3, "127.0.0.1", 8080)
            await eventually(lambda: finds("one"), within=5)
            await beta.kill()
            await eventually(lambda: is_owned_by(alpha), within=15)
            await shows(gamma, "ORDERS", {"orders-1": "UP"})
            await stage.offer(gamma, "two", service="billing")
            await gamma.deregister("one")
            seconds = await eventually(lambda: finds("two"), within=5)
        await shows(alpha, "ORDERS", {})
    did = "registers, renews and discovers; its agent killed, it registers with the next one; takes its instance back"
    record(
        client="eureka-js-client",
        version=VERSION,
        dialect="Eureka",
        did=did,
        weights="taken from its metadata",
        seconds=seconds,
    )
