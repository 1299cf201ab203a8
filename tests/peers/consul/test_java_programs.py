"""Java programs register and follow a service by kiwiproject's client of Consul's API, and by that of Vert.x."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.maven import compiled, fetch, java, needs_maven
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_maven]

_PAGE: Final = "clients/java.md"

_LOGGING: Final = "org.slf4j:slf4j-simple:2.0.16"


@attrs.frozen
class _Client:
    name: str
    library: str
    version: str
    number: int  # of its program on the page


_CLIENTS: Final = (
    _Client("consul-client (kiwiproject)", "org.kiwiproject:consul-client", "1.12.1", 0),
    _Client("Vert.x consul client", "io.vertx:vertx-consul-client", "4.5.14", 1),
)


@pytest.mark.parametrize("client", _CLIENTS, ids=lambda client: client.name)
async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path, client: _Client) -> None:
    libraries = fetch(tmp_path, [f"{client.library}:{client.version}", _LOGGING])
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        log = tmp_path / "application.log"
        source = adapted(written(_PAGE, "java", client.number), {"8500": stage.alpha.http.split(":")[1]})
        async with running(log, *java(compiled(tmp_path, "Application", source, libraries), "Application")):
            seconds = await Application(log, stage).is_put_through()
    record(
        client=client.name,
        version=client.version,
        api="Consul",
        did="registers and renews by ttl; follows by blocking queries; registers again when its agent is back",
        weights="not used",
        seconds=seconds,
    )
