"""The doctor on real agents: a quiet line where all is well, and the right finding where something is not."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import trio

from tests.drills.agents import Agents, fixed_address
from tests.drills.waiting import PATIENCE, eventually


async def _doctor(http: str, *arguments: str) -> tuple[int, str]:
    """The exit status and the output of the command, asked of one agent."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOSSIPREG_")}
    with trio.fail_after(2 * PATIENCE):
        ran = await trio.run_process(
            [sys.executable, "-m", "gossipreg", "doctor", "--http", http, *arguments],
            env=clean,
            capture_stdout=True,
            check=False,
        )
    return ran.returncode, ran.stdout.decode()


async def _findings(http: str) -> dict[str, Any]:
    _, out = await _doctor(http, "--json", "--watch", "0s")
    return {each["rule"]: each for each in json.loads(out)["findings"]}


async def test_a_healthy_agent_is_one_line(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("web-1", "web-2")
    await agents[0].register("orders", 8080)

    async def check() -> None:  # a busy machine may stop an agent for a moment while it starts
        assert await _doctor(agents[1].http) == (0, f"nothing wrong found: web-2 at {agents[1].http}\n")

    await eventually(check, within=4 * PATIENCE)


async def test_mistakes_are_found_and_named(quick_agents: Agents) -> None:
    seed, _, victim = await quick_agents.cluster("web-1", "web-2", "web-3")
    nothing = fixed_address()
    stranger = await quick_agents.start("web-4", "--cluster", "other", join=[seed, nothing])
    await victim.kill()

    async def check() -> None:
        first = await _findings(seed.http)
        assert "web-3" in first["failed-members"]["why"][0]
        found = await _findings(stranger.http)
        assert found["two-clusters"]["why"][0].endswith(seed.gossip)
        assert any(nothing in each and "refused" in each for each in found["not-joined"]["why"])

    await eventually(check)


async def test_an_agent_that_is_stopped_is_told_from_one_that_is_not_there(agents: Agents) -> None:
    agent = await agents.start("web-1")
    wrong = await _findings(agent.gossip)
    assert wrong["unreachable"]["run"] == f"gossipreg doctor --http {agent.http}"
    agent.stop()
    try:
        stopped = await _findings(agent.http)
    finally:
        agent.resume()
    assert any(f"process {agent.process.pid} " in each for each in stopped["unreachable"]["why"])
    assert "does not answer" in stopped["unreachable"]["do"]
    await agent.leave()
    gone = await _findings(agent.http)
    assert not any("is listened at by" in each for each in gone["unreachable"]["why"])
