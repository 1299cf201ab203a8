"""Go programs register and discover by Go kit, and discover by a resolver of gRPC, over Consul's API."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import attrs
import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.go_programs import build_program
from tests.peers.results import record
from tests.peers.stage import open_stage, running
from tests.peers.suites.go_module import needs_go

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_go]

_PAGE: Final = "clients/go.md"


@attrs.frozen
class _Client:
    name: str
    version: str
    number: int  # of its program on the page
    modules: tuple[str, ...]
    places: dict[str, str]
    did: str
    is_registering: bool


_KIT: Final = _Client(
    name="Go kit sd/consul",
    version="0.13.0",
    number=0,
    modules=("github.com/go-kit/kit/sd/consul@v0.13.0", "github.com/hashicorp/consul/api@v1.32.1"),
    places={'"127.0.0.1:8500"': "os.Args[1]"},
    did="registers; follows a service by blocking queries; goes on when its killed agent is back",
    is_registering=True,
)

_GRPC: Final = _Client(
    name="grpc-consul-resolver (Go)",
    version="1.5.3",
    number=1,
    modules=("github.com/mbobakov/grpc-consul-resolver@v1.5.3",),
    places={'"consul://127.0.0.1:8500/orders': '"consul://" + os.Args[1] + "/orders', '"log"': '"log"\n\t"os"'},
    did="follows a service by blocking queries; goes on when its killed agent is back",
    is_registering=False,
)


@pytest.mark.parametrize("client", [_KIT, _GRPC], ids=lambda client: client.name)
async def test_it_works_as_the_page_says_and_outlives_its_agent(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, client: _Client
) -> None:
    program = build_program(tmp_path_factory, _PAGE, client.number, client.modules, client.places)
    flags = ("--data-dir", str(tmp_path / "data"))
    async with open_stage(tmp_path, flags) as stage:
        await offer_orders(stage)
        log = tmp_path / "program.log"
        async with running(log, program, stage.alpha.http):
            application = Application(log, stage, is_registering=client.is_registering, shows_addresses=True)
            seconds = await application.is_put_through(*flags)
    record(
        client=client.name, version=client.version, api="Consul", did=client.did, weights="not used", seconds=seconds
    )
