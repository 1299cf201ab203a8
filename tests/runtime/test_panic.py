"""A node whose peers are lost at once: what lookups return, and how it is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import trio

from gossipreg import Node, NoInstance, Status, open_node
from gossipreg.embed.chooser import Chooser
from tests.runtime.nodes import PATIENCE, config


@pytest.fixture
async def alone() -> AsyncIterator[Node]:
    """A node that offers orders, and has just lost three others that do, without a word from any of them."""
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as stack:
            ann = await stack.enter_async_context(open_node(config("ann")))
            others = [await stack.enter_async_context(open_node(config(name, ann))) for name in ("bob", "cid", "dan")]
            for port, node in enumerate((ann, *others), 80):
                await node.register("orders", port=port, tags=["mine"] if node is ann else [])
            await ann.wait_for("orders", at_least=4)
            watch = ann.watch("orders")
            for node in others:
                node._lifecycle.context.close()
            while [each.owner for each in (await anext(watch)).instances] != ["ann"]:
                pass
            while [each.status for each in ann.members()].count(Status.FAILED) < 3:  # noqa: ASYNC110 - members ring no bell of their own
                await trio.sleep(0.01)
            yield ann


async def test_below_the_share_a_lookup_has_what_was_lost_and_says_so(alone: Node) -> None:
    assert [each.port for each in alone.lookup("orders")] == [80]
    found = alone.lookup("orders", panic=0.5)
    assert [(each.port, each.stale) for each in found] == [(80, False), (81, True), (82, True), (83, True)]
    assert all(each.health.can_serve for each in found)
    assert alone.lookup("orders", panic=0.25) == alone.lookup("orders") == alone.lookup("orders", panic=0)
    assert [each.port for each in alone.lookup("orders", panic=0.5, tag="mine")] == [80]
    assert [each.health.can_serve for each in alone.lookup("orders", healthy=False, panic=0.5)] == [True] + 3 * [False]


async def test_picks_and_choosers_take_from_what_was_lost(alone: Node) -> None:
    assert {alone.pick("orders").port for _ in range(99)} == {80}
    assert {alone.pick("orders", panic=0.5).port for _ in range(199)} == {80, 81, 82, 83}
    chooser = Chooser(alone, panic=0.5, strategy="round-robin")
    assert [chooser.choose("orders").port for _ in range(4)] == [80, 81, 82, 83]
    with pytest.raises(NoInstance):
        alone.pick("nothing", panic=0.5)


async def test_operators_see_how_often_that_was_done(alone: Node) -> None:
    assert alone.info().counters["panicked_lookups"] == 0
    alone.lookup("orders", panic=0.2)
    alone.lookup("orders", panic=0.9)
    alone.pick("orders", panic=0.9)
    assert alone.info().counters["panicked_lookups"] == 2


async def test_one_that_comes_back_is_not_stale_any_more(alone: Node) -> None:
    async with open_node(config("bob", alone)) as bob:
        await bob.register("orders", port=81)
        await alone.wait_for("orders", at_least=2)
        found = alone.lookup("orders", panic=0.9)
        assert {each.port: each.stale for each in found} == {80: False, 81: False, 82: True, 83: True}
