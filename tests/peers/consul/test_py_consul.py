"""The real py-consul, sync and under asyncio, registers, renews and discovers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

import dns.message
import dns.query
import pytest
import trio

from tests.drills.waiting import eventually
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


async def test_a_query_that_it_defines_is_executed_by_every_agent_and_by_dns(tmp_path: Path) -> None:
    consul: Any = importlib.import_module("consul")
    async with open_stage(tmp_path) as stage:
        await set_the_stage(stage)
        alpha = consul.Consul(port=int(stage.alpha.http.rpartition(":")[2]))
        beta = consul.Consul(port=int(stage.beta.http.rpartition(":")[2]))

        def define() -> str:
            made: str = alpha.query.create("orders", name="near-orders", onlypassing=True, ttl="7s")["ID"]
            return made

        id_ = await trio.to_thread.run_sync(define)

        def executed() -> list[str]:
            try:
                found = beta.query.execute("near-orders")["Nodes"]
            except consul.NotFound:
                raise AssertionError("beta does not know it yet") from None
            return sorted(each["Service"]["ID"] for each in found)

        async def is_known() -> None:
            assert len(await trio.to_thread.run_sync(executed)) == 2

        await eventually(is_known)
        by_id = await trio.to_thread.run_sync(alpha.query.execute, id_)
        assert sorted(each["Service"]["ID"] for each in by_id["Nodes"]) == await trio.to_thread.run_sync(executed)
        host, _, port = stage.dns.rpartition(":")
        question = dns.message.make_query("near-orders.query.consul", "SRV")
        answer = await trio.to_thread.run_sync(lambda: dns.query.udp(question, host, timeout=60, port=int(port)))
        assert len(answer.answer[0]) == 2
        assert answer.answer[0].ttl == 7
        assert await trio.to_thread.run_sync(alpha.query.delete, id_)
        assert await trio.to_thread.run_sync(alpha.query.list) == []
