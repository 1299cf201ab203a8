"""A registration returns what lookups show, and a note says why that differs from what was registered."""

from __future__ import annotations

import pytest

from gossipreg import Check, Health, Maintenance, Split, WeightOverride, open_node
from gossipreg.model import FENCED, PRIMARY
from tests.runtime.nodes import config


async def test_an_instance_that_stands_as_stated_needs_no_note() -> None:
    async with open_node(config()) as node:
        made = await node.register("pg", port=1, role=PRIMARY, term=1, weight=3)
        assert (made,) == node.lookup("pg")
        assert node.note(made) == ""
        await node.deregister(made.id)
        assert node.note(made) == ""


async def test_a_claim_below_the_highest_term_comes_back_fenced() -> None:
    async with open_node(config()) as node:
        await node.register("pg", port=1, id="new", role=PRIMARY, term=3)
        old = await node.register("pg", port=2, id="old", role=PRIMARY, term=1)
        assert old.role == FENCED
        assert node.note(old).startswith(
            "fenced, so not called as the primary: its term 1 is below 3, the highest of pg"
        )


async def test_of_equal_terms_the_note_names_the_one_that_goes_first() -> None:
    async with open_node(config()) as node:
        await node.register("pg", port=1, id="a", role=PRIMARY, term=3)
        second = await node.register("pg", port=2, id="b", role=PRIMARY, term=3)
        assert node.note(second) == ("fenced, so not called as the primary: a of a has term 3 as well and goes first")
        assert node.note(node.lookup("pg")[0]) == ""


@pytest.mark.parametrize(
    ("rules", "weight", "note"),
    [
        ([WeightOverride("pg", "one", 5)], 5, "its weight is 5, not 2, by policy weight:pg:one"),
        ([Split("pg", {"v1": 1, "v2": 0})], 1, "its weight is 1, not 2, by policy split:pg"),
        (
            [WeightOverride("pg", "one", 0), Split("pg", {"v1": 1, "v2": 9})],
            0,
            "its weight is 0, not 2, by policy split:pg and weight:pg:one",
        ),
    ],
)
async def test_a_weight_that_policies_change_is_told_with_their_keys(
    rules: list[WeightOverride | Split], weight: int, note: str
) -> None:
    async with open_node(config()) as node:
        for rule in rules:
            await node.set_policy(rule)
        made = await node.register("pg", port=1, id="one", weight=2, tags=["v1"])
        assert (made.weight, node.note(made)) == (weight, note)


async def test_on_a_node_that_drains_it_weighs_nothing() -> None:
    async with open_node(config()) as node:
        await node.drain()
        made = await node.register("pg", port=1)
        assert (made.weight, node.note(made)) == (0, "its weight is 0, not 1: this node drains")


async def test_one_that_cannot_serve_says_why() -> None:
    async with open_node(config()) as node:
        made = await node.register("pg", port=1, id="one", checks=[Check(ttl=30)])
        assert made.health is Health.CRITICAL
        assert node.note(made) == "it is critical, so not called: ttl: not checked yet"
        await node.heartbeat("one", health=Health.WARNING, note="slow")
        [warned] = node.lookup("pg")
        assert node.note(warned) == "its health is a warning: ttl: slow"
        out = await node.set_maintenance("one", "")
        assert node.note(out) == "it is in maintenance, so not called"
        await node.set_maintenance("one", None)
        await node.set_policy(Maintenance("pg", "one", "new disk"))
        by_policy = await node.register("pg", port=1, id="one")
        assert by_policy.health is Health.MAINTENANCE
        assert node.note(by_policy) == "it is in maintenance by policy maintenance:pg:one: new disk"
