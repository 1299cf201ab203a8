"""Spring Cloud's Eureka client registers, discovers and calls, and goes on when its agent restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.peers.applications import Application, offer_orders
from tests.peers.maven import CLOUD, needs_maven, spring_command
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_maven]


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path, spring_application: str) -> None:
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        places = {
            "server.port=8080": f"server.port={fixed_address().rpartition(':')[2]}",
            "127.0.0.1:8500": stage.alpha.http,
            "fetch-interval-seconds=5": "fetch-interval-seconds=1",
            "renewal-interval-in-seconds=5": "renewal-interval-in-seconds=1",
        }
        settings = adapted(written("clients/spring-cloud-eureka.md", "properties"), places)
        log = tmp_path / "application.log"
        async with running(
            log, *spring_command(tmp_path, spring_application, settings, "spring.cloud.consul.enabled=false")
        ):
            application = Application(log, stage)
            seconds = await application.is_put_through()
            await application.calls("one", "three")
    record(
        client="Spring Cloud Eureka client",
        version=CLOUD,
        api="Eureka",
        did="registers, renews, discovers and calls by its load balancer; registers again at its killed agent",
        weights="not used",
        seconds=seconds,
    )
