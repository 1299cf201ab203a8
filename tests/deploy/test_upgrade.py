"""A rolling upgrade from the earlier release, and the way back: real agents with keys and data directories."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from tests.drills.agents import Agent, Agents, key_file, open_agents
from tests.drills.asking import ask

ROOT: Final = Path(__file__).parents[2]

#: The commit that agents are upgraded from; the tag of the last release, once there is one.
EARLIER: Final = "8cdbfb5c447e127aff05c948adf20d977b683035"

_NAMES: Final = ("web-1", "web-2", "web-3", "web-4")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package of the earlier release, installed from its wheel."""
    source, packages = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("packages")
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    archive = subprocess.run(["git", "archive", EARLIER], cwd=ROOT, capture_output=True, timeout=60, check=False)
    if archive.returncode != 0:
        pytest.skip(f"the history of this tree does not go back to {EARLIER}")
    subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, timeout=60, check=True)
    install = ["install", "--quiet", "--no-deps", "--no-compile", "--target", str(packages), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *install], capture_output=True, timeout=300, check=True)
    return packages


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    async with open_agents(tmp_path) as agents:
        yield agents


@attrs.define
class Caller:
    """Looks up a service at every agent that is up, again and again, and keeps what was missing in an answer."""

    up: dict[str, Agent]
    expected: set[str]
    missed: list[tuple[str, set[str]]] = attrs.field(factory=list)
    lookups: int = 0

    async def run(self) -> None:
        while True:
            for name, agent in list(self.up.items()):
                expected = set(self.expected)
                try:
                    found = await agent.ids("orders")
                except (OSError, EOFError):
                    continue  # it has just been told to end
                self.lookups += 1
                if name in self.up and not expected & self.expected <= found:
                    self.missed.append((name, expected & self.expected - found))
            await trio.sleep(0.02)


async def roll(agents: Agents, caller: Caller, packages: Path | None) -> None:
    """Replace one agent after the other by another release; each time all agree before the next has its turn."""
    for name in _NAMES:
        before = caller.up.pop(name)
        caller.expected.discard(f"orders-{name}")
        assert await before.leave() == 0
        others = list(caller.up.values())
        after = await agents.again(before, join=others, packages=packages)
        await agents.agree([*others, after], offers={"orders": {f"orders-{each}" for each in _NAMES}})
        caller.up[name] = after  # not before: an agent answers before it has joined, when `/readyz` says 503 still
        caller.expected.add(f"orders-{name}")


async def _policies(agent: Agent) -> list[str]:
    return sorted(str(row["key"]) for row in (await agent.get("policies"))["policies"])


@pytest.mark.slow
async def test_a_cluster_is_upgraded_and_downgraded_one_by_one_and_no_lookup_misses_an_instance_that_stays(
    agents: Agents, earlier: Path, tmp_path: Path
) -> None:
    up: dict[str, Agent] = {}
    for name in _NAMES:
        flags = ("--key-file", key_file(tmp_path, "key"), "--data-dir", str(tmp_path / name))
        up[name] = await agents.start(name, *flags, join=up.values(), packages=earlier)
        await up[name].register("orders", 8080, id=f"orders-{name}", meta={"of": name})
    await up["web-1"].register("db", 5432, id="db-1", role="primary", term=3)
    rule = {"service": "orders", "instance": "orders-web-3", "weight": 5}
    answer = await ask(up["web-2"].http, "PUT", "policies", rule)
    assert answer.status < 300, answer
    expected = {f"orders-{name}" for name in _NAMES}
    await agents.agree(up.values(), offers={"orders": expected})
    policies = await _policies(up["web-1"])
    caller = Caller(up, expected)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.run)
        await roll(agents, caller, None)
        for agent in up.values():
            assert await _policies(agent) == policies
            (primary,) = (await agent.get("services/db"))["instances"]
            assert (primary["role"], primary["term"]) == ("primary", 3)
        await roll(agents, caller, earlier)
        nursery.cancel_scope.cancel()
    assert caller.lookups > 100
    assert caller.missed == []
    for agent in up.values():
        assert not [line for line in agent.said() if '"level": "error"' in line], agent.name
