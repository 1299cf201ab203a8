"""A real Caddy follows a service by DNS."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.peers.results import record
from tests.peers.stage import Front, adapted, open_stage, running, version_of, written

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed (Debian: caddy)"),
]


async def test_it_follows_srv_records_as_the_page_says(tmp_path: Path) -> None:
    front = Front(address := fixed_address(), host=address)
    async with open_stage(tmp_path) as stage:
        places = {"127.0.0.1:8600": stage.dns, "127.0.0.1:9000": front.address}
        file = tmp_path / "Caddyfile"
        file.write_text(adapted(written("clients/caddy.md", "caddyfile"), places))
        await stage.offer(stage.beta, "one", weight=3)
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        command = ("caddy", "run", "--config", str(file), "--adapter", "caddyfile")
        home = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
        async with running(tmp_path / "caddy.log", *command, env=home):
            await front.reaches("one", "two")
            await stage.gamma.kill()
            seconds = await front.reaches("one")
            await stage.offer(stage.beta, "three")
            await front.reaches("one", "three")
    record(
        client="Caddy",
        version=await version_of("caddy", "version"),
        api="DNS",
        did="follows SRV records (`dynamic srv`)",
        weights="not used",
        seconds=seconds,
    )
