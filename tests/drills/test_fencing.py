"""Whatever happens to the agent with the highest term, no agent calls an instance of a lower one primary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.drills.agents import Agent, Agents
from tests.drills.asking import NoAnswer, ask
from tests.drills.waiting import eventually


@attrs.define
class _Clients:
    """Clients that ask agents for the primary of pg, again and again, and notice when its term falls."""

    highest: dict[str, int] = attrs.field(factory=dict)  # term that each agent has shown, by name
    fallen: list[str] = attrs.field(factory=list)

    async def ask(self, agent: Agent) -> None:
        """Go on until the agent is gone."""
        while True:
            try:
                answer = await ask(agent.http, "GET", "services/pg?role=primary")
            except NoAnswer:
                return
            for each in answer.document.get("instances", ()):  # an agent that is leaving answers with an error
                if each["term"] < self.highest.get(agent.name, 0):
                    self.fallen.append(f"{agent.name} shows {each['id']} in term {each['term']}")
                self.highest[agent.name] = max(each["term"], self.highest.get(agent.name, 0))
            await trio.sleep(0.01)


async def _claim(agent: Agent, id_: str) -> int:
    answer = await agent.put("pg", 5432, id=id_, role="primary", term="next")
    assert answer.status in (200, 201), answer
    assert answer.document["role"] == "primary"
    return int(answer.document["term"])


async def _shown(agents: Sequence[Agent], *roles: tuple[str, str]) -> None:
    """Wait until all ``agents`` show the instances of pg in these roles."""

    async def check() -> None:
        for agent in agents:
            found = (await agent.get("services/pg"))["instances"]
            assert [(each["id"], each["role"]) for each in found] == list(roles), agent.name

    await eventually(check)


async def _role(agent: Agent) -> dict[str, Any]:
    [role] = (await agent.get("roles"))["roles"]
    return dict(role)


async def test_no_agent_ever_calls_a_primary_of_a_lower_term(quick_agents: Agents, tmp_path: Path) -> None:
    clients = _Clients()
    old = await quick_agents.start("db-1", "--data-dir", str(tmp_path / "db-1"))
    web = await quick_agents.start("web", join=[old])
    new = await quick_agents.start("db-2", "--data-dir", str(tmp_path / "db-2"), join=[old])
    await quick_agents.agree([old, web, new])
    async with trio.open_nursery() as nursery:
        for agent in (old, web, new):
            nursery.start_soon(clients.ask, agent)
        assert await _claim(old, "pg-1") == 1
        await _shown([old, web, new], ("pg-1", "primary"))
        assert await _claim(new, "pg-2") == 2
        await _shown([old, web, new], ("pg-1", "fenced"), ("pg-2", "primary"))

        assert await new.leave() == 0  # a planned restart
        await _shown([old, web], ("pg-1", "fenced"))
        new = await quick_agents.again(new)
        nursery.start_soon(clients.ask, new)
        await _shown([old, web, new], ("pg-1", "fenced"), ("pg-2", "primary"))

        await new.deregister("pg-2")
        await _shown([old, web, new], ("pg-1", "fenced"))
        assert await _claim(new, "pg-2") == 3

        assert await new.leave() == 0
        clients.highest.pop("db-2")
        new = await quick_agents.start("db-2", join=[old])  # without its disk
        nursery.start_soon(clients.ask, new)
        assert await _claim(new, "pg-2") == 4
        await _shown([old, web, new], ("pg-1", "fenced"), ("pg-2", "primary"))
        await new.kill()
        await web.kill()
        await old.kill()
    old = await quick_agents.again(old)  # the last of all, after all were down
    await _shown([old], ("pg-1", "fenced"))
    role = await _role(old)
    assert (role["claimed"], role["primary"]) == (4, None)
    assert clients.fallen == []
