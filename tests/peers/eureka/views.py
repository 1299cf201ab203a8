"""What an agent shows over Eureka's API, and waiting for it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from tests.drills.agents import Agent
from tests.drills.waiting import PATIENCE, eventually
from tests.peers.stage import fetch


async def statuses(agent: Agent, app: str) -> dict[str, str]:
    """The status of each instance of an application by its id; an id must be there but once."""
    found = [
        (str(instance.findtext("instanceId")), str(instance.findtext("status")))
        for each in ET.fromstring(await fetch(agent.http, "/eureka/apps")).iter("application")
        if each.findtext("name") == app
        for instance in each.iter("instance")
    ]
    assert len(dict(found)) == len(found), f"shown twice: {found}"
    return dict(found)


async def shows(agent: Agent, app: str, expected: Mapping[str, str], *, within: float = PATIENCE) -> float:
    """Wait until the agent shows just these instances with these statuses; returns how long that took (seconds)."""

    async def check() -> None:
        assert await statuses(agent, app) == expected

    return await eventually(check, within=within)


async def owner(agent: Agent, service: str, id_: str) -> str | None:
    """Whose the healthy instance of that id is."""
    found = [each for each in (await agent.get(f"services/{service}"))["instances"] if each["id"] == id_]
    assert len(found) <= 1, found
    return found[0]["owner"] if found else None
