"""The API before real nodes: leases lapse and end, and overrides hold wherever the instance is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio

from gossipreg import Address, Config, Node, open_node
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving.compatibility_api import load
from tests.drills.waiting import eventually
from tests.frontends.eureka.conftest import Client
from tests.frontends.eureka.posts import post

ID = "host-1:orders:8080"


@asynccontextmanager
async def asking(node: Node) -> AsyncIterator[Client]:
    """A client of that node's."""
    async with trio.open_nursery() as nursery:
        serve = partial(serve_http, leave=lambda: None, compatibility_apis=load(["eureka"]))
        bound = await nursery.start(serve, node, Address("127.0.0.1", 0))
        async with httpx.AsyncClient(base_url=f"http://{bound}", trust_env=False) as http:
            yield Client(http)
        nursery.cancel_scope.cancel()


async def status(client: Client) -> str | None:
    shown = (await client.shown()).get(ID)
    return None if shown is None else str(shown["status"])


async def becomes(client: Client, wanted: str | None) -> float:
    async def check() -> None:
        assert await status(client) == wanted

    return await eventually(check)


@pytest.mark.slow
async def test_a_lease_that_is_not_renewed_lapses_and_then_ends() -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, asking(node) as client:
        await client.post(post(leaseInfo={"durationInSecs": 1}))
        assert await status(client) == "UP"
        assert node.lookup("orders")
        assert await becomes(client, "DOWN") > 0.5
        assert not node.lookup("orders")
        assert (await client.ask("PUT", f"apps/ORDERS/{ID}")).status_code == 200
        assert await status(client) == "UP", "it was renewed in time"
        await becomes(client, None)
        assert (await client.ask("PUT", f"apps/ORDERS/{ID}")).status_code == 404


async def test_an_instance_that_says_it_is_not_up_is_shown_as_it_says_and_not_called() -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, asking(node) as client:
        for said in ("STARTING", "UP", "DOWN", "OUT_OF_SERVICE", "UP"):
            await client.post(post(status=said))
            assert await status(client) == said
            assert bool(node.lookup("orders")) is (said == "UP")
            assert (await client.ask("PUT", f"apps/ORDERS/{ID}")).status_code == 200
            assert await status(client) == said


async def test_an_override_follows_an_instance_from_node_to_node() -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as alpha:
        seed = str(alpha.address)
        beta = Config(name="beta", bind="127.0.0.1:0", join=(seed,))
        async with asking(alpha) as ask_alpha:
            async with open_node(beta) as node, asking(node) as ask_beta:
                await ask_beta.post(post())
                await becomes(ask_alpha, "UP")
                for wanted, method in (("OUT_OF_SERVICE", "PUT"), ("UP", "DELETE"), ("OUT_OF_SERVICE", "PUT")):
                    path = f"apps/ORDERS/{ID}/status?value=OUT_OF_SERVICE"
                    assert (await ask_alpha.ask(method, path)).status_code == 200
                    await becomes(ask_beta, wanted)
                shown = (await ask_alpha.shown())[ID]
                assert shown["overriddenStatus"] == "OUT_OF_SERVICE"
                await ask_alpha.post(post())
                assert await status(ask_alpha) == "OUT_OF_SERVICE"
            await trio.lowlevel.checkpoint()
            assert await status(ask_alpha) == "OUT_OF_SERVICE"
            assert not alpha.lookup("orders")
            await ask_alpha.ask("DELETE", f"apps/ORDERS/{ID}/status")
            assert await status(ask_alpha) == "UP"
            await ask_alpha.ask("PUT", f"apps/ORDERS/{ID}/status?value=DOWN")
            assert await status(ask_alpha) == "DOWN"
            assert (await ask_alpha.ask("DELETE", f"apps/ORDERS/{ID}")).status_code == 200
            assert not alpha.policies()


async def test_what_is_registered_in_any_other_way_is_an_application(nursery: trio.Nursery) -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, asking(node) as client:
        await node.register("orders", port=8080, id=ID, weight=3, zone="eu-1")
        shown = (await client.shown())[ID]
        assert (shown["status"], shown["metadata"]) == ("UP", {"weight": "3", "zone": "eu-1"})
        await node.set_maintenance(ID, "new disk")
        assert await status(client) == "OUT_OF_SERVICE"
        await node.set_maintenance(ID, None)
        await node.register("orders", port=8080, id=ID, weight=0)
        assert await status(client) == "OUT_OF_SERVICE"
        changed = (await client.ask("GET", "apps/delta")).json()["applications"]
        assert changed["apps__hashcode"] == "OUT_OF_SERVICE_1_"
        assert changed["application"][0]["instance"][0]["actionType"] == "MODIFIED"


async def test_a_post_that_says_nothing_new_changes_nothing() -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, asking(node) as client:
        await client.post(post())
        index = node.index("orders")
        for _ in range(3):
            await client.post(post())
            await client.ask("PUT", f"apps/ORDERS/{ID}")
        assert node.index("orders") == index
