"""`gossipreg migrate consul` between a Consul made from its documented answers and a real agent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.drills.agents import Agent, open_agents
from tests.drills.waiting import eventually
from tests.migrate.fake_consul import FakeConsul, serving
from tests.migrate.test_consul import WEB

pytestmark = pytest.mark.slow


@asynccontextmanager
async def migrating(log: Path, *arguments: str) -> AsyncIterator[trio.Process]:
    """The command for as long as the block; it is then interrupted, and its output is in ``log``."""
    command = [sys.executable, "-m", "gossipreg", "migrate", *arguments]
    with log.open("wb") as output:
        process = await trio.lowlevel.open_process(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        yield process
        assert process.poll() is None, "it has ended"
        process.send_signal(signal.SIGINT)
        with trio.fail_after(60):
            assert await process.wait() == 0
    except BaseException as error:
        error.add_note(await trio.Path(log).read_text())
        raise
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def instances(agent: Agent) -> dict[str, dict[str, Any]]:
    found = (await agent.get("services/web?all"))["instances"]
    return {each["id"]: each for each in found}


async def test_a_consul_is_followed_both_ways(tmp_path: Path) -> None:
    consul, log = FakeConsul(), tmp_path / "migrate.log"
    consul.register(WEB)
    consul.register(WEB | {"ID": "web-2", "Port": 8081, "Check": {"TTL": "10s", "Status": "critical"}})
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents:
        alpha = await agents.start("alpha")
        await alpha.register("billing", 9000, id="billing-1", weight=4, tags=["t"])
        with serving(consul) as url:
            flags = ("--to", alpha.http, "--follow", "--both-ways", "--interval", "200ms")
            async with migrating(log, "consul", "--from", url, *flags):

                async def holds(*ids: str) -> None:
                    assert (await instances(alpha)).keys() == set(ids)

                await eventually(lambda: holds("web-1", "web-2"))
                found = await instances(alpha)
                one = found["web-1"]
                assert (one["host"], one["port"], one["weight"], one["tags"]) == ("10.0.0.5", 8080, 5, ["v1", "blue"])
                assert one["meta"]["team"] == "a"
                assert one["meta"]["migrated-from"].startswith("consul:dc1#")
                assert (one["health"], found["web-2"]["health"]) == ("passing", "critical")

                async def is_copied() -> None:
                    assert "billing-1" in consul.services

                await eventually(is_copied)
                assert consul.services["billing-1"]["Weights"]["Passing"] == 4

                consul.answer("PUT", "/v1/agent/service/maintenance/web-1?enable=true&reason=disk", b"")

                async def is_out() -> None:
                    assert (await instances(alpha))["web-1"]["health"] == "maintenance"

                await eventually(is_out)
                consul.answer("PUT", "/v1/agent/service/deregister/web-2", b"")
                await eventually(lambda: holds("web-1"))
                consul.is_away = True
                await trio.sleep(1)
                await holds("web-1")
                consul.is_away = False
                await alpha.register("web", 8080, host="10.0.0.5", id="web-1", meta={"moved": "yes"})
                await trio.sleep(1)
                assert "migrated-from" not in (await instances(alpha))["web-1"]["meta"]
                consul.answer("PUT", "/v1/agent/service/deregister/web-1", b"")

                async def has_moved() -> None:
                    assert consul.services.get("web-1", WEB)["Meta"].get("moved") == "yes"

                await eventually(has_moved)
                await holds("web-1")
    text = log.read_text()
    assert text.count("No cluster leader") <= 2, "each side of it is told once"
    assert "stay at gossipreg:" in text
    assert "they lapse in 30 s unless this runs again" in text


async def test_a_copy_is_made_once_without_following(tmp_path: Path) -> None:
    consul = FakeConsul()
    consul.register(WEB)
    (tmp_path / "agents").mkdir()
    async with open_agents(tmp_path / "agents") as agents:
        alpha = await agents.start("alpha")
        with serving(consul) as url:
            for flags, held in ((["--dry-run"], set()), ([], {"web-1"})):
                command = [sys.executable, "-m", "gossipreg", "migrate", "consul", "--from", url, "--to", alpha.http]
                done = await trio.run_process([*command, "--json", *flags], capture_stdout=True)
                events = [json.loads(line) for line in done.stdout.splitlines()]
                assert [each["event"] for each in events] == ["would copy" if flags else "copied", "ended"]
                assert (await instances(alpha)).keys() == held
