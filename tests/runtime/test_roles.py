"""A service's primary is the same on every node, and every node reports a conflict."""

from __future__ import annotations

import pytest
import trio

from gossipreg import InvalidInstance, Node, NoInstance, RoleEvent, open_node
from gossipreg.model import FENCED, PRIMARY
from gossipreg.runtime.watches import EventWatch
from tests.runtime.nodes import PATIENCE, config


async def next_role_event(events: EventWatch) -> RoleEvent:
    async for batch in events:
        for event in batch:
            if isinstance(event, RoleEvent):
                return event
    raise AssertionError("the node has closed")


def roles(node: Node) -> dict[str, tuple[str | None, int]]:
    return {each.id: (each.role, each.term) for each in node.lookup("pg")}


async def test_a_failover_is_told_of_on_every_node_and_ends_with_one_primary() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as ann, open_node(config("bob", ann)) as bob:
            await ann.register("pg", port=1, id="old", role=PRIMARY, term=ann.next_term("pg"))
            await bob.wait_for("pg")
            told = {node.name: node.events("pg") for node in (ann, bob)}
            for events in told.values():
                await anext(events)

            new = await bob.register("pg", port=1, id="new", role=PRIMARY, term=bob.next_term("pg"))
            for events in told.values():
                event = await next_role_event(events)
                assert (event.kind, event.service, event.primary) == ("contested", "pg", new)
                assert [each.id for each in event.contenders] == ["new", "old"]
            for node in (ann, bob):
                assert roles(node) == {"old": (FENCED, 1), "new": (PRIMARY, 2)}
                assert node.pick("pg", role=PRIMARY) == new

            await ann.register("pg", port=1, id="old", role="replica")
            for events in told.values():
                event = await next_role_event(events)
                assert (event.kind, event.primary, event.contenders) == ("settled", new, (new,))


async def test_the_next_term_is_above_all_that_were_seen_though_they_have_gone() -> None:
    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as ann, open_node(config("bob", ann)) as bob:
            assert ann.next_term("pg") == 1
            await ann.register("pg", port=1, id="old", role=PRIMARY, term=6)
            await ann.register("pg", port=2, id="other", role="replica", term=4)
            await bob.wait_for("pg", at_least=2)
            assert bob.next_term("pg") == 7
            await ann.deregister("old")
            await ann.deregister("other")
            async for change in bob.watch("pg"):
                if not change.instances:
                    break
            assert ann.next_term("pg") == bob.next_term("pg") == 7


async def test_a_fenced_primary_is_not_called_even_if_no_other_instance_can_be() -> None:
    async with open_node(config("ann")) as ann:
        await ann.register("pg", port=1, id="old", role=PRIMARY, term=1)
        new = await ann.register("pg", port=2, id="new", role=PRIMARY, term=2)
        await ann.set_maintenance(new.id, "new disk")
        with pytest.raises(NoInstance, match="does not have role=primary"):
            ann.pick("pg", role=PRIMARY)


async def test_no_instance_registers_as_fenced() -> None:
    async with open_node(config("ann")) as ann:
        with pytest.raises(InvalidInstance, match=r"^role: 'fenced' is how superseded primaries are shown"):
            await ann.register("pg", port=1, role=FENCED)


async def test_two_that_ask_for_the_next_term_at_once_get_the_same_and_one_is_the_primary_everywhere() -> None:
    """Terms are not an election: the page about roles says what to do about it."""
    with trio.fail_after(PATIENCE):
        async with open_node(config("ann")) as ann, open_node(config("bob", ann)) as bob:
            await ann.register("other", port=9)
            await bob.wait_for("other")
            terms = [node.next_term("pg") for node in (ann, bob)]
            assert terms == [1, 1]
            for node, term in zip((ann, bob), terms, strict=True):
                await node.register("pg", port=1, id=node.name, role=PRIMARY, term=term)
            for node in (ann, bob):
                await node.wait_for("pg", at_least=2)
            assert roles(ann) == roles(bob)
            assert sorted(role for role, _ in roles(ann).values() if role) == [FENCED, PRIMARY]
