"""The units of systemd: systemd reads them, they are as confined as the page says, and the agent plays its part."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio

from tests.cli.test_docs import commands_in, parse
from tests.drills.agents import Agents, open_agents

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "docs" / "deploy" / "systemd").glob("*.service"))
PAGE = (ROOT / "docs" / "deploy" / "README.md").read_text()

#: What `systemd-analyze verify` says of a machine on which nothing is installed yet.
_NOT_INSTALLED = re.compile(r"is not executable: No such file|^.*Command 'man .* failed|^\s*$|snapd|\.mount")

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyze(*arguments: str) -> str:
    command = ["systemd-analyze", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={"LC_ALL": "C.UTF-8"})
    return ran.stdout + ran.stderr


def test_each_unit_is_on_the_page() -> None:
    assert [f"systemd/{unit.name}" for unit in UNITS] == sorted(re.findall(r"systemd/[\w-]+\.service", PAGE))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_the_commands_of_a_unit_parse(unit: Path) -> None:
    commands = re.findall(r"^Exec\w+=\S*/(gossipreg .*)$", unit.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        for arguments in commands_in(command):
            parse(arguments)


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: Path) -> None:
    found = analyze("verify", "--man=no", str(unit)).splitlines()
    assert [line for line in found if not _NOT_INSTALLED.search(line)] == []


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_as_confined_as_the_page_says(unit: Path) -> None:
    said = re.search(r"gives both units ([\d.]+) of 10", PAGE)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", analyze("security", "--offline=true", str(unit)))
    if found is None:
        pytest.skip("this systemd does not rate units that are not loaded")
    assert said is not None
    assert float(found[1]) <= float(said[1]) + 0.3  # what later versions look at, too


@attrs.frozen
class Manager:
    """What a service manager hears."""

    socket: trio.socket.SocketType

    async def hears(self, first: str) -> list[str]:
        """The lines of the next datagram that begins with this line."""
        with trio.fail_after(60):
            while True:
                lines = (await self.socket.recv(4096)).decode().split("\n")
                if lines[0] == first:
                    return lines


@pytest.fixture
async def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Manager]:
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        await receiver.bind(f"{tmp_path}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        yield Manager(receiver)


@pytest.fixture
async def agents(tmp_path: Path, manager: Manager) -> AsyncIterator[Agents]:
    async with open_agents(tmp_path) as agents:
        yield agents


@pytest.mark.slow
async def test_an_agent_reports_that_it_is_ready_lives_reloads_and_leaves(manager: Manager, agents: Agents) -> None:
    agent = await agents.start("web-1")
    ready, status = await manager.hears("READY=1")
    assert status == f"STATUS=gossip {agent.gossip}, http {agent.http}, dns off, cluster default"
    await manager.hears("WATCHDOG=1")
    agent.process.send_signal(signal.SIGHUP)
    assert (await manager.hears("RELOADING=1"))[1].startswith("MONOTONIC_USEC=")
    assert await manager.hears(ready) == ["READY=1"]
    agent.process.terminate()
    assert await manager.hears("STOPPING=1") == ["STOPPING=1", "STATUS=draining, then leaving the cluster"]
    assert await agent.ended() == 0


@pytest.mark.slow
async def test_an_agent_whose_event_loop_is_stuck_says_nothing(manager: Manager, agents: Agents) -> None:
    agent = await agents.start("web-1")
    await manager.hears("WATCHDOG=1")
    agent.stop()
    with trio.move_on_after(1) as silence:
        await manager.hears("WATCHDOG=1")  # one that was under way
        await manager.hears("WATCHDOG=1")
    assert silence.cancelled_caught
    agent.resume()
    await manager.hears("WATCHDOG=1")
