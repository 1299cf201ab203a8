"""A real Prometheus learns by `eureka_sd` what to scrape, and when that changes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.drills.waiting import eventually
from tests.peers.results import record
from tests.peers.stage import adapted, fetch, open_stage, running, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: prometheus)"),
]


def version() -> str:
    said = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\S+)", said.stdout + said.stderr)
    assert found is not None
    return found[1].rstrip(",")


async def test_it_follows_what_is_up_as_the_page_says(tmp_path: Path) -> None:
    address = fixed_address()
    async with open_stage(tmp_path) as stage:
        places = {"127.0.0.1:8500": stage.alpha.http, "refresh_interval: 30s": "refresh_interval: 1s"}
        config = tmp_path / "prometheus.yml"
        config.write_text(adapted(written("clients/eureka.md", "yaml", 1), places))
        await stage.offer(stage.beta, "one")
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")

        async def scrapes(*names: str) -> None:
            active = json.loads(await fetch(address, "/api/v1/targets?state=active"))["data"]["activeTargets"]
            found = {(each["labels"]["app"], each["labels"]["instance"], each["scrapeUrl"]) for each in active}
            urls = {name: f"http://127.0.0.1:{stage.ports[name]}/metrics" for name in names}
            assert found == {("ORDERS", name, url) for name, url in urls.items()}

        command = ["prometheus", f"--config.file={config}", f"--web.listen-address={address}"]
        async with running(tmp_path / "prometheus.log", *command, f"--storage.tsdb.path={tmp_path / 'data'}"):
            await eventually(lambda: scrapes("one", "two"))
            await stage.gamma.kill()
            seconds = await eventually(lambda: scrapes("one"))
    did = "eureka_sd: scrapes what is UP, and no more what a killed agent offered"
    record(client="Prometheus", version=version(), api="Eureka", did=did, seconds=seconds)
