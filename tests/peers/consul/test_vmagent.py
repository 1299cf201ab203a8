"""A real vmagent learns what to scrape by consul_sd_configs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.drills.waiting import eventually
from tests.peers.results import record
from tests.peers.stage import adapted, fetch, open_stage, running, version_of, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("vmagent") is None or shutil.which("dpkg-query") is None,
        reason="vmagent is not installed (Debian: victoria-metrics)",
    ),
]


async def test_it_scrapes_what_it_discovers_as_the_page_says(tmp_path: Path) -> None:
    address = fixed_address()
    async with open_stage(tmp_path) as stage:
        await stage.offer(stage.beta, "one")
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        config = tmp_path / "vmagent.yml"
        config.write_text(adapted(written("clients/consul.md", "yaml"), {"127.0.0.1:8500": stage.alpha.http}))

        async def scrapes(*names: str) -> None:
            active = json.loads(await fetch(address, "/api/v1/targets"))["data"]["activeTargets"]
            assert {each["labels"]["id"] for each in active} == set(names)
            assert {each["scrapeUrl"] for each in active} == {
                f"http://127.0.0.1:{stage.ports[name]}/metrics" for name in names
            }

        command = [
            "vmagent",
            f"-httpListenAddr={address}",
            f"-promscrape.config={config}",
            "-promscrape.consulSDCheckInterval=1s",
            f"-remoteWrite.url=http://{fixed_address()}/",
            f"-remoteWrite.tmpDataPath={tmp_path / 'data'}",
        ]
        async with running(tmp_path / "vmagent.log", *command):
            await eventually(lambda: scrapes("one", "two"))
            await stage.gamma.kill()
            killed = await eventually(lambda: scrapes("one"))
            await stage.offer(stage.beta, "three")
            came = await eventually(lambda: scrapes("one", "three"))
            await stage.alpha.kill()
            await scrapes("one", "three")
    record(
        client="vmagent",
        version=await version_of("dpkg-query", "-W", "-f=${Version}", "victoria-metrics"),
        api="Consul",
        did="consul_sd_configs, looking every second: scrapes what is not critical, keeps it when its agent is away",
        seconds=max(killed, came),
    )
