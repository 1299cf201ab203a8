"""A Rust program registers and follows a service over Consul's API, and goes on when its agent restarts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.peers.applications import Application, offer_orders
from tests.peers.results import record
from tests.peers.rust_programs import build_source, needs_cargo
from tests.peers.stage import adapted, open_stage, running, written

pytestmark = [pytest.mark.peer, pytest.mark.slow, needs_cargo]

_VERSION: Final = "0.15.0"
_CRATES: Final = {
    "rs-consul": f'"={_VERSION}"',
    "tokio": '{ version = "1", features = ["macros", "rt", "time"] }',
}

#: The page's program is built before there is an agent, so it takes the address that it is given.
_PLACES: Final = {'"http://127.0.0.1:8500".to_string()': 'format!("http://{}", std::env::args().nth(1).unwrap())'}


async def test_it_works_as_the_page_says_and_outlives_its_agent(tmp_path: Path) -> None:
    source = adapted(written("clients/rust.md", "rust"), _PLACES)
    program = build_source(tmp_path / "rust", source, _CRATES)
    async with open_stage(tmp_path) as stage:
        await offer_orders(stage)
        log = tmp_path / "program.log"
        async with running(log, program, stage.alpha.http):
            application = Application(log, stage, offered="billing-host/billing-1")
            seconds = await application.is_put_through()
    record(
        client="rs-consul (Rust)",
        version=_VERSION,
        api="Consul",
        did="registers in the catalog; follows by blocking queries; registers again when its killed agent is back",
        weights="not used",
        seconds=seconds,
    )
