"""A real Prometheus learns from an agent what to scrape, and when it changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.drills.agents import fixed_address
from tests.drills.waiting import eventually
from tests.peers.results import record
from tests.peers.stage import adapted, fetch, open_stage, running, version_of, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]


async def targets(prometheus: str) -> dict[str, dict[str, Any]]:
    """What it scrapes, by job and where."""
    active = json.loads(await fetch(prometheus, "/api/v1/targets?state=active"))["data"]["activeTargets"]
    return {f"{each['scrapePool']} {each['labels']['instance']}": each for each in active}


async def test_it_follows_http_sd_as_the_page_says(tmp_path: Path) -> None:
    address = fixed_address()
    async with open_stage(tmp_path) as stage:
        places = {"127.0.0.1:8500": stage.alpha.http, "refresh_interval: 10s": "refresh_interval: 1s"}
        config = tmp_path / "prometheus.yml"
        config.write_text(adapted(written("clients/prometheus.md", "yaml"), places))
        await stage.offer(stage.beta, "one", zone="north")
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        one, two = (f"127.0.0.1:{stage.ports[name]}" for name in ("one", "two"))

        async def sees(*expected: str) -> None:
            assert set(await targets(address)) == {f"gossipreg {stage.alpha.http}", *expected}

        command = ["prometheus", f"--config.file={config}", f"--web.listen-address={address}"]
        async with running(tmp_path / "prometheus.log", *command, f"--storage.tsdb.path={tmp_path / 'data'}"):
            await eventually(lambda: sees(f"orders {one}", f"orders {two}", f"callable {one}", f"callable {two}"))
            found = (await targets(address))[f"orders {one}"]
            assert (found["labels"]["id"], found["labels"]["zone"]) == ("one", "north")
            await stage.gamma.kill()
            seconds = await eventually(lambda: sees(f"orders {one}", f"orders {two}", f"callable {one}"))
            found = (await targets(address))[f"orders {two}"]
            assert found["discoveredLabels"]["__meta_gossipreg_health"] == "critical"
            await stage.alpha.kill()
            await trio.sleep(2)  # two refreshes that fail
            assert f"callable {one}" in await targets(address)
    record(
        client="Prometheus",
        version=await version_of("prometheus", "--version"),
        api="Prometheus http_sd",
        did="follows http_sd: all instances or those that can serve, survives its agent",
        seconds=seconds,
    )
