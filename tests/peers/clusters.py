"""A cluster of three nodes with a DNS frontend, opened in this process, for a real program to query."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import attrs
import trio

from gossipreg import Address, Config, Node, open_node
from gossipreg.frontends.dns import serve_dns
from tests.drills.waiting import eventually


@attrs.frozen
class Cluster:
    """Nodes that see each other; the listener is the first one's."""

    nodes: tuple[Node, ...]
    dns: Address


@asynccontextmanager
async def open_cluster() -> AsyncIterator[Cluster]:
    """Three nodes on loopback, with a DNS listener on the first."""
    async with trio.open_nursery() as nursery, AsyncExitStack() as stack:
        nodes: list[Node] = []
        for name in ("alpha", "beta", "gamma"):
            seeds = tuple(str(node.address) for node in nodes[:1])
            nodes.append(await stack.enter_async_context(open_node(Config(name=name, bind="127.0.0.1:0", join=seeds))))

        async def all_see_all() -> None:
            for node in nodes:
                assert node.info().members["alive"] == 3

        await eventually(all_see_all)
        serve = partial(serve_dns, nodes[0], Address("127.0.0.1", 0), domains=["gossipreg", "consul"])
        yield Cluster(tuple(nodes), await nursery.start(serve))
        nursery.cancel_scope.cancel()
