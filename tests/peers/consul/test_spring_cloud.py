"""Spring Cloud Consul registers with an HTTP check or by heartbeats, discovers, and goes on when its agent restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.drills.agents import fixed_address
from tests.peers.applications import Application, offer_orders
from tests.peers.maven import CLOUD, needs_maven, spring_command
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_maven]

#: What the page's second block of properties adds: heartbeats in place of the agent's HTTP check.
_WAYS: Final = {"http": 0, "ttl": 1}


@pytest.mark.parametrize("way", _WAYS)
async def test_it_works_as_the_page_says_and_outlives_its_agent(
    tmp_path: Path, spring_application: str, way: str
) -> None:
    flags = ("--data-dir", str(tmp_path / "data"))
    async with open_stage(tmp_path, flags) as stage:
        await offer_orders(stage)
        places = {
            "server.port=8080": f"server.port={fixed_address().rpartition(':')[2]}",
            "port=8500": f"port={stage.alpha.http.rpartition(':')[2]}",
        }
        settings = adapted(written("clients/spring-cloud-consul.md", "properties"), places)
        if way == "ttl":
            settings += written("clients/spring-cloud-consul.md", "properties", 1)
        log = tmp_path / "application.log"
        async with running(log, *spring_command(tmp_path, spring_application, settings, "eureka.client.enabled=false")):
            application = Application(log, stage)
            seconds = await application.is_put_through(*flags)
            await application.calls("one", "three")
    record(
        client=f"Spring Cloud Consul ({way})",
        version=CLOUD,
        api="Consul",
        did="registers, discovers and calls by its load balancer; goes on when its killed agent is back",
        weights="not used",
        seconds=seconds,
    )
