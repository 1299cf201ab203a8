"""Nodes of two cells: each has the members of its own, and the instances of both."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import trio

from gossipreg.config import Config
from gossipreg.errors import ConfigError, UnknownMember
from gossipreg.events import MemberEvent, Snapshot
from gossipreg.model import Member
from gossipreg.protocol.outputs import CellChanged
from gossipreg.regional import CellInfo
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from gossipreg.settings import Settings
from tests.runtime.nodes import PATIENCE

FAST = Settings.local()


def config(name: str, cell: str, *seeds: Node, key: str | None = None) -> Config:
    join = tuple(str(seed.address) for seed in seeds)
    return Config(name=name, bind="127.0.0.1:0", cell=cell, join=join, key=key, protocol=FAST)


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not holds():  # noqa: ASYNC110 -- nothing is told when the head of another cell comes
            await trio.sleep(0.01)


def known(node: Node) -> list[tuple[str, bool, int, int]]:
    return [(each.name, each.own, each.members, each.instances) for each in node.cells()]


async def test_instances_are_those_of_all_cells_and_members_those_of_the_own_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with (
        open_node(config("a1", "a")) as first,
        open_node(config("a2", "a", first)) as second,
        open_node(config("b1", "b", first)) as other,
    ):
        await second.register("orders", port=80)
        await other.register("orders", port=81)
        nodes = (first, second, other)
        await until(lambda: all(len(node.lookup("orders")) == 2 for node in nodes))
        await until(lambda: known(other) == [("b", True, 1, 1), ("a", False, 2, 1)])
        assert known(second) == [("a", True, 2, 1), ("b", False, 1, 1)]
        assert [each.name for each in second.members()] == ["a1", "a2"]
        assert [each.name for each in other.members()] == ["b1"]
        [_, b] = first.cells()
        assert b.peers == (other.address,)
        assert set(b.relays) == {"a1", "a2"}
        await until(lambda: not first.cells()[1].stale and first.cells()[1].age is not None)

        assert [(each.name, each.cell) for each in first.region_members()] == [("a1", "a"), ("a2", "a"), ("b1", "b")]
        with pytest.raises(UnknownMember, match="'b1' is a member of the cell 'b'"):
            await first.forget("b1")
        before = first.index()
        async with aclosing(first.events(all_cells=True)) as batches:
            [snapshot] = await anext(batches)
            assert isinstance(snapshot, Snapshot)
            assert [each.name for each in snapshot.members] == ["a1", "a2", "b1"]
            await other.drain()
            members: list[Member] = []
            with trio.fail_after(PATIENCE):
                while not members:
                    members = [event.member for event in await anext(batches) if isinstance(event, MemberEvent)]
            assert [(each.name, each.draining) for each in members] == [("b1", True)]
        assert first.index() > before

        driver = first._context.driver
        driver.perform([CellChanged("b", reachable=False, age=12.4)])
        driver.perform([CellChanged("c", reachable=False, age=None), CellChanged("b", reachable=True, age=0.1)])
        said = [record.getMessage() for record in caplog.records if "the cell" in record.getMessage()]
        assert said[-3:] == [
            "nothing was heard of the cell b for 12 s: what it has registered is stale",
            "nothing was heard of the cell c yet: none of its members answers",
            "the cell b is heard again",
        ]


async def test_a_cell_that_is_not_heard_is_among_the_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_node(config("a1", "a")) as node:
        assert node.cells() == (CellInfo(name="a", own=True, members=1),)
        lost = (CellInfo(name="b", age=31.0, stale=True), CellInfo(name="c", age=None, stale=True))
        monkeypatch.setattr(type(node._context.catalog), "cells", lambda _: lost)
        assert node.info().problems == (
            "the cell b was last heard 31 s ago: what it has registered is shown as stale",
            "nothing is known of the cell c: none of its members answers",
        )


async def test_a_flat_cluster_has_no_cells() -> None:
    async with open_node(config("a1", "")) as node:
        assert node.cells() == ()
        assert node.region_members() == node.members()


async def test_a_key_is_used_when_the_members_of_all_cells_hold_it() -> None:
    key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    async with open_node(config("a1", "a", key=key)) as node, open_node(config("b1", "b", node, key=key)) as other:
        await until(
            lambda: [held.held_by for each in (node, other) for held in each.gossip_keys()] == [("a1", "b1")] * 2
        )


def test_a_cell_and_an_authority_exclude_each_other(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="members of several cells cannot have identities"):
        Config(cell="a", authority_file=tmp_path / "authority")
