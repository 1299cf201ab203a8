"""However an agent ends and returns, every view is right in the end: no ghost, and no live instance is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills.agents import Agent, Agents, asked
from tests.drills.waiting import eventually


def _others(agents: list[Agent], *gone: Agent) -> list[Agent]:
    return [agent for agent in agents if agent not in gone]


async def _offering(agents: list[Agent]) -> set[str]:
    """Have every one register an instance of ``orders``; returns their ids."""
    return {await agent.register("orders", 8080, id=f"orders-{agent.name}") for agent in agents}


async def _all_orders(agent: Agent) -> set[str]:
    return await agent.all_ids("orders")


async def _believed(agents: list[Agent], name: str, status: str) -> None:
    """Wait until all these ``agents`` believe that of ``name``."""

    async def check() -> None:
        sights = await asked(agents, Agent.sight)
        assert [sight.members.get(name) for sight in sights] == [status] * len(agents)

    await eventually(check)


async def test_a_killed_agent_fails_everywhere_and_no_lookup_names_it(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("a", "b", "c", "d")
    ids = await _offering(agents)
    await quick_agents.agree(agents, offers={"orders": ids})
    *rest, lost = agents
    await lost.kill()
    await _believed(rest, "d", "failed")
    await quick_agents.agree(rest, offers={"orders": ids - {"orders-d"}})
    assert await asked(rest, _all_orders) == [ids] * 3


async def test_a_stopped_agent_fails_everywhere_and_comes_back_by_itself_when_it_goes_on(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("a", "b", "c", "d")
    ids = await _offering(agents)
    *rest, paused = agents
    paused.stop()
    await _believed(rest, "d", "failed")
    await quick_agents.agree(rest, offers={"orders": ids - {"orders-d"}})
    paused.resume()
    await quick_agents.agree(agents, offers={"orders": ids})
    assert (await paused.counters())["failures_declared"] == 0, "it has judged others for what it slept through"


async def test_a_restart_at_the_same_address_ends_the_life_before(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("a", "b", "c")
    ids = await _offering(agents)
    await quick_agents.agree(agents, offers={"orders": ids})
    before = await agents[2].node()
    await agents[2].kill()
    agents[2] = await quick_agents.again(agents[2])
    await agents[2].register("orders", 8081, id="orders-anew")
    await quick_agents.agree(agents, offers={"orders": ids - {"orders-c"} | {"orders-anew"}})
    after = await agents[2].node()
    assert after["generation"] > before["generation"]
    assert after["address"] == before["address"]


async def test_a_restart_at_a_new_address_ends_the_life_before(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("a", "b", "c")
    ids = await _offering(agents)
    await quick_agents.agree(agents, offers={"orders": ids})
    await agents[2].kill()
    agents[2] = await quick_agents.start("c", join=agents[:2])
    await agents[2].register("orders", 8081, id="orders-anew")
    await quick_agents.agree(agents, offers={"orders": ids - {"orders-c"} | {"orders-anew"}})
    shown = [
        member["address"]
        for agent in agents
        for member in (await agent.get("members"))["members"]
        if member["name"] == "c"
    ]
    assert shown == [agents[2].gossip] * 3


async def test_an_agent_that_leaves_has_left_everywhere_at_once_and_may_come_back(quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("a", "b", "c")
    ids = await _offering(agents)
    await quick_agents.agree(agents, offers={"orders": ids})
    *rest, goes = agents
    assert await goes.leave() == 0
    for agent in rest:
        assert (await agent.sight()).members["c"] == "left"
        assert await agent.all_ids("orders") == ids - {"orders-c"}
    agents[2] = await quick_agents.again(goes)
    await quick_agents.agree(agents, offers={"orders": ids - {"orders-c"}})


@pytest.mark.parametrize("told_where_to_join", [True, False])
async def test_the_seed_may_be_killed_first(told_where_to_join: bool, quick_agents: Agents) -> None:
    agents = await quick_agents.cluster("seed", "b", "c")
    ids = await _offering(agents)
    await quick_agents.agree(agents, offers={"orders": ids})
    seed, *rest = agents
    await seed.kill()
    await _believed(rest, "seed", "failed")
    rest.append(await quick_agents.start("d", join=rest[:1]))
    await quick_agents.agree(rest, offers={"orders": ids - {"orders-seed"}})
    again = await quick_agents.again(seed, join=rest[:1] if told_where_to_join else ())
    await again.register("orders", 8080, id="orders-seed")
    await quick_agents.agree([again, *rest], offers={"orders": ids})


async def test_a_cluster_that_is_killed_and_started_again_all_at_once_is_what_it_was(
    quick_agents: Agents, tmp_path: Path
) -> None:
    seed = await quick_agents.start("a", "--data-dir", str(tmp_path / "a"))
    others = [
        await quick_agents.start(name, "--data-dir", str(tmp_path / name), join=[seed]) for name in ("b", "c", "d", "e")
    ]
    agents = [seed, *others]
    ids = await _offering(agents)
    await agents[4].deregister("orders-e")
    ids.remove("orders-e")
    await quick_agents.agree(agents, offers={"orders": ids})
    for agent in agents:
        await agent.kill()
    agents = await asked(agents, quick_agents.again)
    await quick_agents.agree(agents, offers={"orders": ids})
    assert await asked(agents, _all_orders) == [ids] * 5


async def test_a_cluster_that_is_restarted_one_by_one_never_loses_sight_of_itself(
    quick_agents: Agents, tmp_path: Path
) -> None:
    agents = [await quick_agents.start("a", "--data-dir", str(tmp_path / "a"))]
    for name in ("b", "c"):
        agents.append(await quick_agents.start(name, "--data-dir", str(tmp_path / name), join=agents[:1]))
    ids = await _offering(agents)
    await quick_agents.agree(agents, offers={"orders": ids})
    for number, agent in enumerate(agents):
        assert await agent.leave() == 0
        agents[number] = await quick_agents.again(agent, join=_others(agents, agent)[:1])
        await quick_agents.agree(agents, offers={"orders": ids})
