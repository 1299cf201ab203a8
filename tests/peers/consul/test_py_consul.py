"""The real py-consul, sync and under asyncio, registers, renews and discovers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path

import pytest

from tests.peers.consul.programs import Program, set_the_stage
from tests.peers.results import record
from tests.peers.stage import adapted, open_stage, running, written


def _missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


pytestmark = [
    pytest.mark.peer,
    pytest.mark.slow,
    pytest.mark.skipif(_missing("consul"), reason="py-consul is not installed (PyPI: py-consul)"),
]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0, "sync"),
        pytest.param(1, "asyncio", marks=pytest.mark.skipif(_missing("aiohttp"), reason="aiohttp is not installed")),
    ],
)
async def test_it_registers_and_discovers_as_the_page_says(tmp_path: Path, number: int, kind: str) -> None:
    async with open_stage(tmp_path) as stage:
        await set_the_stage(stage)
        places = {"8500": stage.alpha.http.rpartition(":")[2]}
        file, log = tmp_path / "program.py", tmp_path / "program.log"
        file.write_text(adapted(written("clients/consul.md", "python", number), places))
        async with running(log, sys.executable, file):
            seconds = await Program(log, stage).is_put_through(weight=3 if kind == "sync" else 1)
    record(
        client=f"py-consul ({kind})",
        version=importlib.metadata.version("py-consul"),
        api="Consul",
        did="registers and renews by ttl; follows a service by blocking queries",
        weights="registered, and told to the program",
        seconds=seconds,
    )
