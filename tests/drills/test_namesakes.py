"""One name is one member: the older of two agents of one name keeps it, and no other agent notices the younger."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.drills.agents import Agent, Agents
from tests.drills.waiting import eventually


async def _note(agent: Agent, heard: list[tuple[str, Any]], *, task_status: trio.TaskStatus[None]) -> None:
    """Note what an agent tells, beginning after its snapshot."""
    async for name, data in agent.events():
        if name == "snapshot":
            task_status.started()
        else:
            heard.append((name, data))


@pytest.mark.parametrize("joined", ["a bystander", "its namesake"])
async def test_a_younger_namesake_stops_with_a_sentence_and_the_older_one_is_undisturbed(
    joined: str, agents: Agents
) -> None:
    bystander, elder, other = await agents.cluster("a", "b", "c")
    members = [bystander, elder, other]
    await elder.register("orders", 8080, id="orders-b")
    await agents.agree(members, offers={"orders": {"orders-b"}})
    before = await elder.node()
    heard: list[tuple[str, Any]] = []
    async with trio.open_nursery() as nursery:
        for agent in members:
            await nursery.start(_note, agent, heard)
        younger = await agents.fails("b", join=[elder if joined == "its namesake" else bystander])
        await bystander.register("orders", 8081, id="last-word")
        await agents.agree(members, offers={"orders": {"orders-b", "last-word"}})
        nursery.cancel_scope.cancel()
    assert younger.status == 1
    assert younger.err.splitlines()[-1] == (
        f"gossipreg: the name 'b' is held by the member at {elder.gossip}, which is older: "
        "stop that one, or give this node another --name"
    )
    news = {name for name, _ in heard} - {"member-suspect", "member-alive"}  # which a busy machine can cause
    assert news == {"instance-added"}, heard
    after = await elder.node()
    assert (after["generation"], after["incarnation"]) == (before["generation"], before["incarnation"])


async def test_of_namesakes_started_at_once_just_one_remains(agents: Agents) -> None:
    seed = await agents.start("seed")
    twins = await agents.start_all(["twin", "twin"], join=[seed])

    async def check_one_has_stopped() -> None:
        assert [twin.process.returncode for twin in twins].count(1) == 1

    await eventually(check_one_has_stopped)
    [elder] = [twin for twin in twins if twin.process.returncode is None]
    id_ = await elder.register("orders", 8080)
    await agents.agree([seed, elder], offers={"orders": {id_}})
    [younger] = [twin for twin in twins if twin is not elder]
    assert younger.said()[-1].startswith("gossipreg: the name 'twin' is held by the member at ")
