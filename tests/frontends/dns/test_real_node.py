"""The DNS frontend with a real node, alone in its cluster: that the two fit."""

from __future__ import annotations

from functools import partial

import dns.asyncquery
import dns.message
import trio

from gossipreg import Address, Config, Federation, Node, open_node
from gossipreg.frontends.dns import NodeApi, serve_dns
from tests.frontends.dns.client import code, data


def fits(node: Node) -> NodeApi:
    """Checked by the type checker: a node has all that the frontends need."""
    return node


async def test_an_instance_comes_and_goes() -> None:
    followed = Federation(region="eu", agents=("127.0.0.1:1",))  # where nothing answers
    config = Config(name="alpha", bind="127.0.0.1:0", cluster="shop", region="north-1", federate=[followed])
    async with open_node(config) as node, trio.open_nursery() as nursery:
        serve = partial(serve_dns, fits(node), Address("127.0.0.1", 0), domains=["gossipreg"])
        bound: Address = await nursery.start(serve)

        async def ask(name: str, type_: str) -> dns.message.Message:
            query = dns.message.make_query(name, type_)
            return await dns.asyncquery.udp(query, bound.host, timeout=60, port=bound.port)

        assert data(await ask("alpha.node.gossipreg", "A")) == ["127.0.0.1"]
        assert data(await ask("alpha.node.north-1.dc.gossipreg", "A")) == ["127.0.0.1"]
        assert code(await ask("alpha.node.shop.dc.gossipreg", "A")) == "NXDOMAIN"
        assert code(await ask("orders.service.asia.gossipreg", "SRV")) == "NXDOMAIN"
        assert code(await ask("orders.service.eu.gossipreg", "SRV")) == "SERVFAIL"
        assert code(await ask("orders.service.gossipreg", "SRV")) == "NXDOMAIN"
        instance = await node.register("orders", port=8080, weight=2)
        assert data(await ask("orders.service.gossipreg", "SRV")) == ["1 2 8080 8080.7f000001.addr.gossipreg."]
        await node.deregister(instance.id)
        assert code(await ask("orders.service.gossipreg", "SRV")) == "NXDOMAIN"
        nursery.cancel_scope.cancel()
