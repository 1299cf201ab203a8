"""`gossipreg migrate eureka` follows Spring Cloud's Eureka server both ways while an application moves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.drills.agents import open_agents
from tests.drills.waiting import eventually
from tests.migrate.test_with_agents import migrating
from tests.peers.eureka.java import eureka_server, needs_java, version
from tests.peers.eureka.requests import JSON, instance
from tests.peers.results import record

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_java]


async def shown(client: httpx.AsyncClient) -> dict[str, Mapping[str, Any]]:
    """The instances that a side shows, by id; each is there once."""
    document = (await client.get("apps", headers=JSON)).json()
    found = [each for app in document["applications"]["application"] for each in app["instance"]]
    by_id = {each["instanceId"]: each for each in found}
    assert len(by_id) == len(found)
    return by_id


async def test_a_eureka_is_followed_both_ways(tmp_path: Path, eureka_classes: str) -> None:
    (tmp_path / "agents").mkdir()
    log = tmp_path / "migrate.log"
    async with (
        open_agents(tmp_path / "agents") as agents,
        eureka_server(eureka_classes, tmp_path / "server.log") as url,
    ):
        alpha = await agents.start("alpha")
        async with (
            httpx.AsyncClient(base_url=f"{url}/", trust_env=False) as theirs,
            httpx.AsyncClient(base_url=f"http://{alpha.http}/eureka/", trust_env=False) as ours,
        ):

            async def register(side: httpx.AsyncClient, id_: str, **fields: Any) -> None:
                posted = instance("ORDERS", instanceId=id_, lastDirtyTimestamp=..., **fields)
                assert (await side.post("apps/ORDERS", json={"instance": posted})).status_code == 204

            async def shows(side: httpx.AsyncClient, expected: Mapping[str, str]) -> None:
                assert {id_: each["status"] for id_, each in (await shown(side)).items()} == expected

            await register(theirs, "one", metadata={"team": "a", "weight": "3"}, vipAddress="orders-vip")
            await register(theirs, "two", port={"$": 8081, "@enabled": "true"})
            flags = ("--to", alpha.http, "--follow", "--both-ways", "--interval", "500ms")
            async with migrating(log, "eureka", "--from", url, *flags):
                await eventually(lambda: shows(ours, {"one": "UP", "two": "UP"}))
                one = (await shown(ours))["one"]
                assert one["vipAddress"] == "orders-vip"
                assert (one["metadata"]["team"], one["metadata"]["weight"]) == ("a", "3")
                assert one["metadata"]["migrated-from"].startswith("eureka#")

                await register(ours, "three", port={"$": 8082, "@enabled": "true"})
                await eventually(lambda: shows(theirs, {"one": "UP", "two": "UP", "three": "UP"}))

                await theirs.put("apps/ORDERS/two/status?value=OUT_OF_SERVICE")
                out = {"one": "UP", "two": "OUT_OF_SERVICE", "three": "UP"}
                await eventually(lambda: shows(ours, out))

                # One moves: it registers here, and then leaves there.
                await register(ours, "one", metadata={"moved": "yes"})
                await theirs.delete("apps/ORDERS/one")

                async def has_moved() -> None:
                    assert (await shown(theirs)).get("one", {}).get("metadata", {}).get("moved") == "yes"
                    assert "migrated-from" not in (await shown(ours))["one"]["metadata"]

                await eventually(has_moved)
                await theirs.delete("apps/ORDERS/two")
                await eventually(lambda: shows(ours, {"one": "UP", "three": "UP"}))
                await eventually(lambda: shows(theirs, {"one": "UP", "three": "UP"}))
    assert "copies from eureka stay at gossipreg:" in log.read_text()
    record(
        client="gossipreg migrate",
        version=version().rpartition(" ")[2],
        api="Eureka",
        did="copies a Eureka server's instances to an agent and an agent's to it while one moves; nothing comes back",
    )
