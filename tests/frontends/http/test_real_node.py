"""The HTTP frontend with a real node, alone in its cluster: that the two fit."""

from __future__ import annotations

import json
from functools import partial

import httpx
import trio

from gossipreg import Address, Config, Node, open_node
from gossipreg.frontends.http import NodeApi, serve_http


def fits(node: Node) -> NodeApi:
    """Checked by the type checker: a node has all that the frontends need."""
    return node


async def test_an_instance_comes_and_goes() -> None:
    config = Config(name="alpha", bind="127.0.0.1:0")
    async with open_node(config) as node, trio.open_nursery() as nursery:
        leave = trio.Event()
        bound = await nursery.start(partial(serve_http, fits(node), Address("127.0.0.1", 0), leave=leave.set))
        async with httpx.AsyncClient(base_url=f"http://{bound}/api/v1", trust_env=False) as client:
            body = {"service": "orders", "port": 8080, "tags": ["v2"], "meta": {"team": "a"}}
            registered = await client.put("/instances", json=body)
            assert registered.status_code == 201, registered.text
            assert (await client.put("/instances", json=body)).status_code == 200
            found = (await client.get("/services/orders?tag=v2")).json()
            assert found["instances"] == [registered.json()]
            assert (await client.get("/services")).json() == {"services": {"orders": {"instances": 1, "healthy": 1}}}
            assert [each["name"] for each in (await client.get("/members")).json()["members"]] == ["alpha"]

            async with client.stream("GET", "/events") as stream:
                id_ = registered.json()["id"]
                assert (await client.delete(f"/instances/{id_}")).status_code == 204
                assert (await client.delete(f"/instances/{id_}")).status_code == 404
                assert (await client.get("/services/orders")).json()["index"] > found["index"]
                assert (await client.post("/leave")).status_code == 202
                assert leave.is_set()
                await node.leave()
                told = (await stream.aread()).decode().split("\n\n")
                names = [event.partition("\n")[0] for event in told]
                assert names[:2] == ["event: snapshot", "event: instance-removed"]
                assert json.loads(told[1].partition("data: ")[2])["id"] == id_

            assert (await client.get("/services/orders")).status_code == 503
            assert (await client.get("/events")).status_code == 503
        nursery.cancel_scope.cancel()


async def test_a_service_says_how_it_is_and_its_keeper_takes_it_out() -> None:
    async with open_node(Config(name="alpha", bind="127.0.0.1:0")) as node, trio.open_nursery() as nursery:
        bound = await nursery.start(partial(serve_http, fits(node), Address("127.0.0.1", 0), leave=trio.Event().set))
        async with httpx.AsyncClient(base_url=f"http://{bound}/api/v1", trust_env=False) as client:

            async def found(query: str = "") -> list[tuple[str, str]]:
                answer = (await client.get(f"/services/orders{query}")).json()
                return [(each["health"], each["reason"]) for each in answer["instances"]]

            body = {"service": "orders", "port": 8080, "id": "o", "checks": [{"ttl": "1m"}]}
            assert (await client.put("/instances", json=body)).json()["health"] == "critical"
            assert await found() == []
            assert await found("?all") == [("critical", "ttl: not checked yet")]
            assert (await client.put("/heartbeats/o")).status_code == 204
            assert await found() == [("passing", "")]
            assert (await client.put("/heartbeats/o?health=warning&note=disk+full")).status_code == 204
            assert await found() == [("warning", "ttl: disk full")]
            assert (await client.put("/maintenance/o?reason=new+disk")).status_code == 200
            assert await found() == []
            assert await found("?all") == [("maintenance", "new disk")]
            assert (await client.delete("/maintenance/o")).json()["health"] == "warning"
            [check] = (await client.get("/checks/o")).json()["checks"]
            assert (check["kind"], check["output"], check["settings"]) == ("ttl", "disk full", {"ttl": 60.0})
            refused = await client.put("/heartbeats/o?check=http")
            assert (refused.status_code, refused.json()["error"]) == (400, "check: 'o' has no check 'http'; it has ttl")
            assert (await client.put("/heartbeats/missing")).status_code == 404
        nursery.cancel_scope.cancel()
