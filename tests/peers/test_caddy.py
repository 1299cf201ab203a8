"""A real Caddy follows a service by DNS."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.drills.asking import NoAnswer
from tests.peers.results import record
from tests.peers.stage import Front, adapted, appears, fetch, open_stage, running, version_of, written

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


async def test_it_follows_a_rendered_file_as_the_page_says(tmp_path: Path) -> None:
    page = "clients/caddy.md"
    front, admin = Front(address := fixed_address(), host=address), fixed_address()
    places = {
        "/etc/caddy/orders.caddy": tmp_path / "orders.caddy",
        "127.0.0.1:9000": front.address,
        "127.0.0.1:2019": admin,
    }
    (tmp_path / "Caddyfile").write_text(adapted(written(page, "caddyfile", 1), places))
    (tmp_path / "orders.caddy.j2").write_text(written(page, "jinja"))
    places = {
        "/etc/gossipreg/": f"{tmp_path}/",
        "/etc/caddy/": f"{tmp_path}/",
        "gossipreg render": f"exec {sys.executable} -m gossipreg render",
    }
    home = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    async with open_stage(tmp_path) as stage:
        keep = f"{adapted(written(page, 'sh').strip(), places)} --http {stage.alpha.http} --interval-min 100ms"
        await stage.offer(stage.beta, "one", weight=3)
        await stage.offer(stage.gamma, "two")
        await stage.reaches_alpha("one", "two")
        async with running(tmp_path / "render.log", "/bin/sh", "-c", keep, env=home):
            await appears(tmp_path / "orders.caddy")
            command = ("caddy", "run", "--config", str(tmp_path / "Caddyfile"), "--adapter", "caddyfile")
            async with running(tmp_path / "caddy.log", *command, env=home):
                await front.reaches("one", "two")
                await stage.gamma.kill()
                seconds = await front.reaches("one")
                await stage.offer(stage.beta, "three")
                await front.reaches("one", "three")
                await stage.beta.kill()
                await front.reaches("")
                with pytest.raises(NoAnswer, match="with 503"):
                    await fetch(front.address, "/", front.host)
    record(
        client="Caddy",
        version=await version_of("caddy", "version"),
        api="rendered file",
        did="follows `gossipreg render`, no instance left is 503",
        weights="not used",
        seconds=seconds,
    )
