"""The node for asyncio programs: awaited verbs, cancellation, watches that lose nothing, ends in good order."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from gossipreg import (
    BindError,
    Config,
    InvalidInstance,
    MemberEvent,
    NameConflict,
    NodeClosed,
    NoInstance,
    ServiceChange,
    Snapshot,
    Status,
    UnknownInstance,
)
from gossipreg.embed.asyncio import AsyncioNode, AsyncioWatch, lifespan, open_node
from tests.embed.programs import run
from tests.embed.seeing import assert_no_thread_is_left, config
from tests.runtime.nodes import PATIENCE


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run the scene on an event loop of its own; it has to end in time."""

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE):
            await scene()

    asyncio.run(bounded(), debug=False)


def play_with_ann(scene: Callable[[AsyncioNode], Awaitable[None]]) -> None:
    """Run the scene with a node that is alone in its cluster."""

    async def with_ann() -> None:
        async with open_node(config("ann", zone="north")) as ann:
            await scene(ann)

    play(with_ann)


# Verbs


def test_what_is_registered_is_found_and_what_is_deregistered_is_not() -> None:
    async def scene(node: AsyncioNode) -> None:
        made = await node.register("orders", port=80, tags=["v2"])
        assert node.lookup("orders") == (made,) == await node.wait_for("orders")
        assert node.pick("orders", zone="north") == made == node.own(made.id)
        assert (node.name, (await node.info()).name, made.owner) == ("ann", "ann", "ann")
        await node.deregister(made.id)
        assert node.lookup("orders") == ()

    play_with_ann(scene)


def test_a_check_is_told_how_its_instance_is_and_maintenance_takes_it_out() -> None:
    async def scene(node: AsyncioNode) -> None:
        made = await node.register("orders", port=80, checks=[{"name": "self", "ttl": 60}])
        await node.heartbeat(made.id)
        assert [each.id for each in await node.wait_for("orders")] == [made.id]
        assert [report.check.name for report in await node.checks()] == ["self"]
        assert (await node.set_maintenance(made.id, "new disk")).reason == "new disk"
        assert node.lookup("orders") == ()

    play_with_ann(scene)


def test_refusals_are_raised_in_the_caller() -> None:
    async def scene(node: AsyncioNode) -> None:
        with pytest.raises(InvalidInstance, match=r"^port: "):
            await node.register("orders", port=-1)
        with pytest.raises(UnknownInstance):
            await node.deregister("none")
        with pytest.raises(NoInstance):
            node.pick("orders")
        with pytest.raises(BindError):
            await open_node(Config(bind=str(node.address))).__aenter__()

    play_with_ann(scene)


def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    async def scene(node: AsyncioNode) -> None:
        waiting = asyncio.create_task(node.wait_for("orders"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not node._thread._unsettled
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(node.wait_for("orders"), 0.01)
        assert not node._thread._unsettled

    play_with_ann(scene)


def test_two_nodes_find_each_other_and_the_one_that_leaves_is_gone() -> None:
    async def scene(node: AsyncioNode) -> None:
        async with open_node(config("bob", node)) as other:
            made = await other.register("orders", port=80)
            assert await node.wait_for("orders") == (made,)
        assert other.is_closed
        assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT

    play_with_ann(scene)


def test_a_node_answers_while_its_programs_loop_is_blocked() -> None:
    async def scene(node: AsyncioNode) -> None:
        async with open_node(config("bob", node)) as other:
            events = node.events()
            while len(node.members()) < 2 or len(other.members()) < 2:
                await anext(events)
            done = threading.Event()
            timer = threading.Timer(1.0, done.set)
            timer.start()
            done.wait()  # no callback runs on the event loop meanwhile, for twenty probe intervals
            timer.join()
            assert all(member.status.is_present for member in (*node.members(), *other.members()))
            assert await other.info() != await node.info()

    play_with_ann(scene)


# Watches


def test_a_watch_gives_a_snapshot_and_then_what_changes() -> None:
    async def scene(node: AsyncioNode) -> None:
        watch = node.watch("orders")
        assert (await anext(watch)).snapshot
        made = await node.register("orders", port=80)
        assert (await anext(watch)).added == (made,)
        await watch.aclose()
        assert [change async for change in watch] == []

    play_with_ann(scene)


def test_a_change_for_which_no_wait_was_long_enough_is_the_next_one() -> None:
    async def scene(node: AsyncioNode) -> None:
        watch = node.watch("orders")
        await anext(watch)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(watch), 0.001)
        made = await node.register("orders", port=80)
        assert (await anext(watch)).added == (made,)

    play_with_ann(scene)


def test_a_watch_may_be_waited_for_on_one_loop_after_another() -> None:
    async def wait_in_vain(watch: AsyncioWatch[ServiceChange]) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0.001)

    async def next_of(watch: AsyncioWatch[ServiceChange], node: AsyncioNode) -> ServiceChange:
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.001)
        await node.register("orders", port=80)
        return await waiting

    async def scene(node: AsyncioNode) -> None:
        watch = node.watch("orders")
        await anext(watch)
        await wait_in_vain(watch)
        with ThreadPoolExecutor(1) as pool:
            in_thread = asyncio.get_running_loop().run_in_executor
            await in_thread(pool, lambda: asyncio.run(wait_in_vain(watch)))
            change = await in_thread(pool, lambda: asyncio.run(next_of(watch, node)))
        assert [instance.port for instance in change.added] == [80]

    play_with_ann(scene)


def test_a_change_that_comes_as_its_waiter_is_cancelled_is_the_next_one() -> None:
    async def scene(node: AsyncioNode) -> None:
        watch = node.watch("orders")
        await anext(watch)
        for port in range(1, 30):
            waiting = asyncio.ensure_future(anext(watch))
            await asyncio.sleep(0)
            made = await node.register("orders", port=port)
            waiting.cancel()
            try:
                change = await waiting
            except asyncio.CancelledError:
                change = await anext(watch)
            assert change.added == (made,)

    play_with_ann(scene)


def test_events_tell_of_everything() -> None:
    async def scene(node: AsyncioNode) -> None:
        events = node.events()
        [snapshot] = await anext(events)
        assert isinstance(snapshot, Snapshot)
        async with open_node(config("bob", node)):
            [event, *_] = await anext(events)
            assert isinstance(event, MemberEvent)
            assert (event.kind, event.member.name) == ("joined", "bob")

    play_with_ann(scene)


def test_a_watch_that_is_dropped_leaves_nothing_behind() -> None:
    async def scene(node: AsyncioNode) -> None:
        watch = node.watch("orders")
        await anext(watch)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(watch), 0.001)
        assert len(node._thread._unsettled) == 1
        del watch
        await asyncio.sleep(0)  # from Python 3.12 on, asyncio holds on to what was cancelled until its loop's next turn
        gc.collect()
        assert not node._thread._unsettled

    play_with_ann(scene)


def test_watches_and_waits_end_with_the_node() -> None:
    async def scene() -> None:
        async with open_node(config("ann")) as node:
            watch = node.watch("orders")
            await anext(watch)
            watching: asyncio.Task[Any] = asyncio.create_task(anext(watch, None))
            waiting = asyncio.create_task(node.wait_for("orders"))
        assert await watching is None
        assert [change async for change in watch] == []
        with pytest.raises(NodeClosed):
            await waiting

    play(scene)


# Ends


def test_a_closed_node_answers_nothing_as_if_it_were_current() -> None:
    async def scene(node: AsyncioNode) -> None:
        await asyncio.gather(node.leave(), node.leave())
        await node.wait_closed()
        assert node.is_closed
        for read in (lambda: node.lookup("orders"), lambda: node.pick("orders"), node.services, node.members):
            with pytest.raises(NodeClosed):
                read()
        with pytest.raises(NodeClosed, match=r"^node 'ann' is closed: open a new one$"):
            await node.register("orders", port=81)
        with pytest.raises(NodeClosed):
            node.watch("orders")

    play_with_ann(scene)


def test_a_block_that_is_cancelled_says_goodbye_first() -> None:
    async def scene(node: AsyncioNode) -> None:
        inside = asyncio.Event()

        async def block() -> None:
            async with open_node(config("bob", node)) as other:
                await other.register("orders", port=80)
                await node.wait_for("orders")
                inside.set()
                await other.wait_closed()

        task = asyncio.create_task(block())
        await inside.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # and again, while it says goodbye
        with pytest.raises(asyncio.CancelledError):
            await task
        assert {member.name: member.status for member in node.members()}["bob"] is Status.LEFT

    play_with_ann(scene)


def test_an_opening_that_is_cancelled_leaves_no_thread_behind() -> None:
    async def scene() -> None:
        async def block() -> None:
            async with open_node(config("ann")):
                pytest.fail("it was cancelled before")

        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_no_thread_is_left()

    play(scene)


def test_a_node_that_has_to_yield_its_name_cancels_its_block_and_says_why() -> None:
    async def scene(node: AsyncioNode) -> None:
        with pytest.raises(NameConflict, match=r"^the name 'ann' is held by the member at "):
            async with open_node(config("ann", node)):
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert not node.is_closed

    play_with_ann(scene)


def test_a_lifespan_offers_the_application_for_as_long_as_it_serves() -> None:
    async def scene(node: AsyncioNode) -> None:
        async with lifespan(config("bob", node), "shop", port=80, tags=["v2"])(object()) as state:
            [found] = await node.wait_for("shop")
            assert state["node"].own("shop-bob-80") == found
            assert found.tags == ("v2",)
        assert node.lookup("shop") == ()

    play_with_ann(scene)


def test_a_fork_leaves_the_block_at_once_and_the_node_alone() -> None:
    said = run(
        """
        import asyncio, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads: that is the matter here
        from gossipreg import NodeClosed
        from gossipreg.embed.asyncio import open_node
        from tests.embed.seeing import config
        async def main():
            async with open_node(config("ann")) as node:
                child = os.fork()
                if child:
                    os.waitpid(child, 0)
                    await node.register("orders", port=80)
                    print("parent:", len(node.lookup("orders")))
                else:
                    for verb in (node.info, node.wait_closed):
                        try:
                            await verb()
                        except NodeClosed as error:
                            assert "open one in each worker, after the fork" in str(error), error
                        else:
                            raise AssertionError("the fork can use the node")
                    await node.leave()
            if not child:
                print("child: out", flush=True)
                os._exit(0)
        asyncio.run(main())
        """
    )
    assert said == "child: out\nparent: 1\n"


def test_ctrl_c_ends_the_program_and_the_node_says_goodbye() -> None:
    said = run(
        """
        import asyncio, os, signal, threading
        from gossipreg.embed.asyncio import open_node
        from tests.embed.seeing import config
        async def main():
            async with open_node(config("ann")) as ann:
                try:
                    async with open_node(config("bob", ann)) as bob:
                        events = ann.events()
                        while len(ann.members()) < 2:
                            await anext(events)
                        os.kill(os.getpid(), signal.SIGINT)
                        await bob.wait_for("never offered")
                finally:
                    print({member.name: str(member.status) for member in ann.members()}["bob"])
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """
    )
    assert said == "left\ninterrupted\n"
