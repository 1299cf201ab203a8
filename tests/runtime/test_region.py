"""A node's region: its default, what it states to other nodes, and nodes of one cluster that state several."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from gossipreg.config import Config
from gossipreg.errors import ConfigError, UnknownRegion
from gossipreg.model import NODE_SERVICE
from gossipreg.runtime.node import Node
from gossipreg.runtime.opening import open_node
from gossipreg.settings import Settings

FAST = Settings.local()


def config(name: str, *, region: str = "", join: tuple[str, ...] = (), cluster: str = "shop") -> Config:
    return Config(name=name, bind="127.0.0.1:0", cluster=cluster, region=region, join=join, protocol=FAST)


async def until(node: Node, holds: Callable[[], object]) -> None:
    with trio.fail_after(60):
        index = node.index()
        while not holds():
            await node.wait_changed(None, index)
            index = node.index()


async def test_the_region_is_the_clusters_name_unless_one_is_given() -> None:
    async with open_node(config("a")) as node:
        assert (node.region, node.info().region) == ("shop", "shop")
        assert node.lookup(NODE_SERVICE, healthy=False) == (), "without a region there is no record of it"
    async with open_node(config("a", region="eu")) as node:
        assert (node.region, node.info().region, node.cluster) == ("eu", "eu", "shop")


async def test_another_region_is_refused_and_never_answered_from_here() -> None:
    async with open_node(config("a", region="eu")) as node:
        await node.register("orders", port=80)
        assert len(node.lookup("orders", region="eu")) == 1
        assert node.pick("orders", region="eu").port == 80
        with pytest.raises(UnknownRegion, match="no region 'us' is known here"):
            node.lookup("orders", region="us")
        with pytest.raises(UnknownRegion):
            node.pick("orders", region="us")
        with pytest.raises(UnknownRegion):
            node.lookup("orders", region="shop")


async def test_nodes_of_one_cluster_in_several_regions_are_a_problem_that_each_of_them_reports() -> None:
    async with open_node(config("a", region="eu")) as a:
        join = (str(a.address),)
        async with open_node(config("b", region="eu", join=join)) as b, open_node(config("c", join=join)) as c:
            await until(a, lambda: a.info().problems)
            await until(c, lambda: len(c.lookup(NODE_SERVICE, healthy=False)) == 2 and len(c.members()) == 3)
            assert a.info().problems == (
                "this node's region is 'eu', that of c 'shop': give all nodes of a cluster one region",
            )
            assert c.info().problems == (
                "this node's region is 'shop', that of a 'eu', b 'eu': give all nodes of a cluster one region",
            )
            assert "gossipreg.region" in b.lookup(NODE_SERVICE, healthy=False)[0].meta
        await until(a, lambda: not a.info().problems)


def test_a_word_with_another_meaning_is_no_region() -> None:
    with pytest.raises(ConfigError, match="region: 'nearest' stands for the region with the shortest round trip"):
        Config(region="nearest")
    with pytest.raises(ConfigError, match="region: 'a b' is not a name"):
        Config(region="a b")
