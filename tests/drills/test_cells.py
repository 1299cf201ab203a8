"""Four cells of eight agents: relays are killed, and half of the cells are cut off from the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.drills.agents import QUICK, Agent, Agents, Measured, asked, open_agents
from tests.drills.namespaces import Cable, Side, cable, needs_namespaces
from tests.drills.waiting import eventually

_CELLS = ("a", "b", "c", "d")
_EACH = 8


@pytest.mark.netns
@needs_namespaces
async def test_cells_share_what_they_own_over_dead_relays_and_cut_borders(tmp_path: Path, measured: Measured) -> None:
    with cable() as network:
        async with open_agents(tmp_path, QUICK) as agents:
            region = await _region(agents, network)
            started = [agent for members in region.values() for agent in members]
            took = await eventually(lambda: _knows(started, dict.fromkeys(_CELLS, _EACH)))
            measured(f"{len(started)} agents in {len(_CELLS)} cells know each other after {took:.1f} s")
            ids = {await members[0].register("orders", 8080, id=f"before-{cell}") for cell, members in region.items()}
            took = await eventually(lambda: _offers(started, ids))
            measured(f"one registration in each cell, until all look them up: {took:.2f} s")

            # Both relays of the cell a to the cell c are killed.
            relays = (await _cells_of(region["b"][0]))["a"]["peers"]
            dead = [agent for agent in region["a"] if agent.gossip in relays and agent is not region["a"][0]]
            for agent in dead:
                await agent.kill()
            alive = [agent for agent in started if agent not in dead]
            ids.add(await region["a"][0].register("orders", 8080, id="after-the-relays"))
            took = await eventually(lambda: _offers(alive, ids))
            measured(f"{len(dead)} relays of a border killed; a change of that cell is everywhere after {took:.2f} s")
            counts = dict.fromkeys(_CELLS, _EACH) | {"a": _EACH - len(dead)}
            await eventually(lambda: _knows(alive, counts))

            # The cells a and b are cut off from c and d.
            left = [agent for agent in alive if agent in (*region["a"], *region["b"])]
            right = [*region["c"], *region["d"]]
            network.cut("silent")
            took = await eventually(lambda: _is_stale(left, "c", "d"))
            measured(f"borders cut: shown as stale after {took:.1f} s")
            await eventually(lambda: _is_stale(right, "a", "b"))
            for agent in (left[0], right[0]):
                assert await agent.all_ids("orders") == ids  # nothing is removed
                members = (await agent.get("members"))["members"]
                assert {each["status"] for each in members if each["name"][0] != "a"} <= {"alive"}
            await region["c"][0].deregister("before-c")
            ids.remove("before-c")
            ids.add(await region["d"][1].register("orders", 8081, id="meanwhile"))
            await eventually(lambda: _offers(right, {id_ for id_ in ids if id_ in ("meanwhile", "before-d")}))

            network.mend("silent")
            took = await eventually(lambda: _offers(alive, ids))
            measured(f"borders mended: all look up the same after {took:.1f} s")
            await eventually(lambda: _is_stale(alive))
            await eventually(lambda: _knows(alive, counts))


async def _region(agents: Agents, network: Cable) -> dict[str, list[Agent]]:
    """Start all agents; the seeds of each are the first of all and the first of its cell."""
    region: dict[str, list[Agent]] = {}
    for cell in _CELLS:
        side = network.left if cell in "ab" else network.right
        first = await _start(agents, side, cell, 0, [members[0] for members in region.values()][:1])
        seeds = [*([region["a"][0]] if region else []), first]
        region[cell] = [first, *[await _start(agents, side, cell, number, seeds) for number in range(1, _EACH)]]
    return region


async def _start(agents: Agents, side: Side, cell: str, number: int, join: list[Agent]) -> Agent:
    return await agents.start(
        f"{cell}{number}",
        *("--insecure", "--cell", cell),
        join=join,
        bind=f"{side.gossip_host}:0",
        http=f"{side.http_host}:0",
        namespace=side.namespace,
    )


async def _cells_of(agent: Agent) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (await agent.get("cells"))["cells"]}


async def _knows(agents: list[Agent], counts: dict[str, int]) -> None:
    """Each agent knows so many members of each cell."""
    for cells in await asked(agents, _cells_of):
        assert {name: each["members"] for name, each in cells.items()} == counts


async def _offers(agents: list[Agent], ids: set[str]) -> None:
    """Each agent answers lookups with these instances."""
    for found in await asked(agents, lambda agent: agent.ids("orders")):
        assert found == ids


async def _is_stale(agents: list[Agent], *cells: str) -> None:
    """Each agent shows these cells as stale, and no other."""
    for known in await asked(agents, _cells_of):
        assert sorted(name for name, each in known.items() if each["stale"]) == sorted(cells)
        assert all(each["age"] >= 12 for each in known.values() if each["stale"])
