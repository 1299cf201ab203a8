"""Nodes embedded in a program: several in one process, watched, and left in good order."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio

from gossipreg import (
    BindError,
    Config,
    InsecureError,
    InvalidInstance,
    MemberEvent,
    Node,
    NodeClosed,
    NoInstance,
    Settings,
    Snapshot,
    Status,
    UnknownInstance,
    open_node,
)
from tests.drills.agents import Agents

_PATIENCE = 20.0


def _config(name: str, *seeds: Node) -> Config:
    quick_to_go = Settings(drain_time=0.1, leave_linger=0.2)
    return Config(name=name, bind="127.0.0.1:0", join=tuple(str(seed.address) for seed in seeds), protocol=quick_to_go)


async def test_several_nodes_in_one_process_are_one_cluster() -> None:
    async with AsyncExitStack() as stack:
        seed = await stack.enter_async_context(open_node(_config("seed")))
        others = [await stack.enter_async_context(open_node(_config(name, seed))) for name in "abc"]
        ports = {node.address.port for node in (seed, *others)}
        assert len(ports) == 4, "each got a port of its own"
        for node in others:
            await node.register("orders", port=8080)
        with trio.fail_after(_PATIENCE):
            found = [await node.wait_for("orders", at_least=3) for node in (seed, *others)]
        assert {instance.owner for instance in found[0]} == {"a", "b", "c"}
        assert found == [found[0]] * 4


async def test_an_embedded_node_and_an_agent_are_of_one_kind(agents: Agents) -> None:
    agent = await agents.start("agent")
    async with open_node(Config(name="embedded", bind="127.0.0.1:0", join=(agent.gossip,))) as node:
        await agent.register("orders", 8080, id="the-agents")
        await node.register("orders", port=8081, id="the-nodes")
        with trio.fail_after(_PATIENCE):
            await node.wait_for("orders", at_least=2)
        assert node.pick("orders").id in {"the-agents", "the-nodes"}
        await agents.agree([agent], alive={"agent", "embedded"}, offers={"orders": {"the-agents", "the-nodes"}})
    assert (await agent.sight()).members == {"agent": "alive", "embedded": "left"}
    assert await agent.all_ids("orders") == {"the-agents"}


async def test_a_watch_gives_a_snapshot_first_and_then_what_changed() -> None:
    async with open_node(_config("a")) as near, open_node(_config("b", near)) as far:
        first = await far.register("orders", port=1)
        with trio.fail_after(_PATIENCE):
            await near.wait_for("orders")
            changes = near.watch("orders")
            snapshot = await anext(changes)
            assert (snapshot.snapshot, snapshot.added, snapshot.instances) == (True, (first,), (first,))
            second = await far.register("orders", port=2)
            added = await anext(changes)
            assert (added.snapshot, added.added, added.instances) == (False, (second,), (first, second))
            heavier = await far.register("orders", port=2, weight=5)
            changed = await anext(changes)
            assert (changed.changed, changed.instances) == ((heavier,), (first, heavier))
            await far.deregister(first.id)
            removed = await anext(changes)
            assert (removed.removed, removed.instances) == ((first,), (heavier,))
            assert snapshot.index < added.index < changed.index < removed.index


async def test_a_watcher_that_never_reads_harms_no_other_and_catches_up_in_one_step() -> None:
    async with open_node(_config("a")) as near, open_node(_config("b", near)) as far:
        with trio.fail_after(_PATIENCE):
            sleeper, events = near.watch("orders"), near.events()
            await anext(sleeper)
            assert isinstance((await anext(events))[0], Snapshot)
            for round_ in range(500):
                await far.register("orders", port=1 + round_ % 50, weight=round_)
            async for change in near.watch("orders"):
                if len(change.instances) == 50 and max(i.weight for i in change.instances) == 499:
                    break
            caught_up = await anext(sleeper)
            assert len(caught_up.added) == 50
            assert caught_up.instances == change.instances
            assert len([event for event in await anext(events) if not isinstance(event, MemberEvent)]) == 50


async def test_on_leaving_the_block_the_node_leaves_the_cluster() -> None:
    weights: list[int] = []

    async def watch(node: Node) -> None:
        async for change in node.watch("orders"):
            weights.extend(instance.weight for instance in change.instances)
            if weights and not change.instances:
                return

    with trio.fail_after(_PATIENCE):
        async with open_node(_config("stays")) as stays, trio.open_nursery() as nursery:
            nursery.start_soon(watch, stays)
            async with open_node(_config("goes", stays)) as goes:
                await goes.register("orders", port=1)
                await stays.wait_for("orders")
            assert stays.lookup("orders", healthy=False) == ()
            assert {member.name: member.status for member in stays.members()} == {
                "goes": Status.LEFT,
                "stays": Status.ALIVE,
            }
    assert weights == [1, 0], "before it goes it asks for no new work"


async def test_what_goes_wrong_is_said_in_one_line_with_its_remedy() -> None:
    async with open_node(_config("a")) as node:
        with pytest.raises(NoInstance, match=r"^no instance of 'orders' is registered$"):
            node.pick("orders")
        with pytest.raises(UnknownInstance, match=r"^this node owns no instance 'x', and no member does$"):
            await node.deregister("x")
        with pytest.raises(InvalidInstance, match=r"^port: 70000 is not a whole number from 0 to 65535$"):
            await node.register("orders", port=70_000)
        with pytest.raises(BindError, match=r"stop the other program, or pass another --bind HOST:PORT$"):
            async with open_node(Config(name="b", bind=str(node.address))):
                pass
    with pytest.raises(NodeClosed, match=r"^node 'a' is closed: open a new one$"):
        await node.register("orders", port=1)
    with pytest.raises(InsecureError, match=r"--key-file key, or --insecure on a trusted network$"):
        async with open_node(Config(name="b", bind="0.0.0.0:0")):
            pass
