"""A cluster whose network splits serves on both sides, and heals by itself when the network does."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import trio

from tests.drills.agents import QUICK, Agent, Agents, Measured, asked, open_agents
from tests.drills.lengths import scaled
from tests.drills.namespaces import Side, cable, needs_namespaces
from tests.drills.waiting import PATIENCE

#: How long the network stays split after both sides have noticed (seconds).
_SPLIT = scaled(1.0, 120.0)

#: In full, the drill is run with the default settings, which notice and heal in the better part of a minute.
_SETTINGS = scaled(QUICK, {})
_WITHIN = scaled(PATIENCE, 90.0)


@pytest.mark.netns
@needs_namespaces
@pytest.mark.parametrize("how", ["unplugged", "silent"])
async def test_two_halves_that_lost_each_other_find_back_with_all_that_was_registered_meanwhile(
    how: Literal["unplugged", "silent"], tmp_path: Path, measured: Measured
) -> None:
    with cable() as network:
        async with open_agents(tmp_path, _SETTINGS) as agents:
            seed = await _start(agents, network.left, "left-1")
            left = [seed, *[await _start(agents, network.left, name, seed) for name in ("left-2", "left-3")]]
            right = [await _start(agents, network.right, f"right-{number}", seed) for number in (1, 2, 3)]
            ids = {await agent.register("orders", 8080, id=f"before-{agent.name}") for agent in left + right}
            await agents.agree(left + right, offers={"orders": ids})

            network.cut(how)
            for side in (left, right):
                await agents.agree(side, offers={"orders": _of(side, ids)}, within=_WITHIN)
            for agent in left + right:
                ids.add(await agent.register("orders", 8081, id=f"meanwhile-{agent.name}"))
            for agent in (left[1], right[1]):
                await agent.deregister(f"before-{agent.name}")
                ids.remove(f"before-{agent.name}")
            await trio.sleep(_SPLIT)
            for side in (left, right):
                await agents.agree(side, offers={"orders": _of(side, ids)}, within=_WITHIN)

            network.mend(how)
            took = await agents.agree(left + right, offers={"orders": ids}, within=_WITHIN)
            measured(f"partition ({how}, {_SPLIT:g} s): healed {took:.2f} s after the network")
            assert await asked(left + right, lambda agent: agent.all_ids("orders")) == [ids] * 6


@pytest.mark.netns
@needs_namespaces
async def test_primaries_on_both_sides_of_a_split_end_as_one(tmp_path: Path) -> None:
    with cable() as network:
        async with open_agents(tmp_path, _SETTINGS) as agents:
            seed = await _start(agents, network.left, "left-1")
            left = [seed, await _start(agents, network.left, "left-2", seed)]
            right = [await _start(agents, network.right, f"right-{number}", seed) for number in (1, 2)]
            await seed.register("pg", 5432, id="old", role="primary", term="next")
            await agents.agree(left + right, offers={"pg": {"old"}})

            network.cut("silent")
            for side, there in ((left, {"old"}), (right, set[str]())):
                await agents.agree(side, offers={"pg": there}, within=_WITHIN)
            await right[0].register("pg", 5432, id="new", role="primary", term="next")
            await agents.agree(right, offers={"pg": {"new"}}, within=_WITHIN)
            assert await asked(left + right, _primaries) == [[("old", 1)]] * 2 + [[("new", 2)]] * 2

            network.mend("silent")
            await agents.agree(left + right, offers={"pg": {"old", "new"}}, within=_WITHIN)
            assert await asked(left + right, _primaries) == [[("new", 2)]] * 4
            for agent in left + right:
                assert any("2 instances of pg claim to be its primary: new of right-1" in line for line in agent.said())


async def _primaries(agent: Agent) -> list[tuple[str, int]]:
    found = (await agent.get("services/pg?role=primary"))["instances"]
    return [(each["id"], each["term"]) for each in found]


async def _start(agents: Agents, side: Side, name: str, *join: Agent) -> Agent:
    bind, http = f"{side.gossip_host}:0", f"{side.http_host}:0"
    return await agents.start(name, "--insecure", join=join, bind=bind, http=http, namespace=side.namespace)


def _of(side: list[Agent], ids: set[str]) -> set[str]:
    return {id_ for id_ in ids if id_.split("-", 1)[1] in {agent.name for agent in side}}
