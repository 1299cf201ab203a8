"""Faults that are injected into real agents: the overview of the page names the cause of each."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from gossipreg.cli.demo.switch import PacketSwitch
from tests.drills.agents import Agent, Agents, key_file, open_agents
from tests.drills.asking import ask
from tests.peers.browser import Browser, install_browser, needs_chromium, open_browser
from tests.peers.npm import needs_node

pytestmark = [pytest.mark.peer, needs_node, needs_chromium]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_browser(tmp_path_factory.mktemp("npm"))


@attrs.define(eq=False)
class Stage:
    """A cluster whose links a switch carries, and a browser that shows the overview of its first agent."""

    agents: Agents
    browser: Browser
    switch: PacketSwitch
    directory: Path
    running: dict[str, Agent] = attrs.field(factory=dict)

    async def start(self, name: str, *flags: str) -> Agent:
        """Start an agent behind the switch."""
        bind, advertised = await trio.to_thread.run_sync(self.switch.add, name)
        seeds = [next(iter(self.running.values()))] if self.running else []
        agent = await self.agents.start(name, "--advertise", advertised, *flags, join=seeds, bind=bind)
        await trio.to_thread.run_sync(self.switch.runs, name, agent.process.pid)
        self.running[name] = agent
        return agent

    async def show(self) -> None:
        """Open the overview of the first agent."""
        first = next(iter(self.running.values()))
        await self.browser.run(f"await page.goto('about:blank'); await page.goto('http://{first.http}/ui/')")
        await self.browser.sees("live")

    async def kill(self, name: str) -> None:
        """Kill an agent, and end its streams as its kernel would."""
        await self.running[name].kill()
        await trio.to_thread.run_sync(self.switch.ended, name)

    def cut(self, one: str, other: str) -> None:
        """Lose what is sent between two agents, in both directions."""
        self.switch.lost.update({(one, other), (other, one)})

    async def names(self, *texts: str) -> None:
        """Wait until the overview shows each of these texts; what it shows holds no serious fault of markup."""
        await self.browser.sees(*texts)
        assert await self.browser.serious() == []


@asynccontextmanager
async def stage(tmp_path: Path, modules: Path, *names: str, flags: tuple[str, ...] = ()) -> AsyncIterator[Stage]:
    (tmp_path / "agents").mkdir()
    with_switch = PacketSwitch()
    await trio.to_thread.run_sync(with_switch.__enter__)
    try:
        async with open_agents(tmp_path / "agents") as agents, open_browser(modules) as browser:
            made = Stage(agents, browser, with_switch, tmp_path)
            for name in names:
                await made.start(name, *flags)
            await agents.agree(made.running.values())
            await made.show()
            yield made
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(with_switch.__exit__)


async def put(agent: Agent, path: str, document: Any = None) -> None:
    answer = await ask(agent.http, "PUT", path, document)
    assert answer.status < 300, answer


async def test_a_killed_and_a_paused_agent(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha", "beta", "gamma") as cluster:
        await cluster.kill("beta")
        await cluster.names("Member beta has failed", "gossipreg forget beta", "since")
        await trio.sleep(6)  # so that the next is not taken for a part of it
        cluster.running["gamma"].stop()
        await cluster.names("Member gamma is suspect", "Wait some seconds")
        await cluster.names("Member gamma has failed")


async def test_a_link_that_is_cut_in_one_direction_between_two_others(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha", "beta", "gamma") as cluster:
        cluster.switch.lost.add(("beta", "gamma"))
        await cluster.names("What beta sends to gamma is lost", "Look for a firewall or a route")
        await cluster.browser.run("await page.getByRole('link', { name: 'Members' }).click()")
        seen = "beta sees gamma: alive, what is sent there is lost"
        await cluster.browser.run(f"await page.getByRole('img', {{ name: '{seen}' }}).waitFor()")
        assert await cluster.browser.serious() == []
        await cluster.browser.run("await page.setViewportSize({ width: 360, height: 740 })")
        wide = "return page.evaluate('document.documentElement.scrollWidth - innerWidth')"
        assert await cluster.browser.run(wide) <= 0
        cluster.switch.lost.clear()
        await cluster.browser.run(
            "await page.getByText('What beta sends to gamma').first().waitFor({state: 'detached'})"
        )


async def test_a_split(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha", "beta", "gamma", "delta") as cluster:
        for one in ("alpha", "beta"):
            for other in ("gamma", "delta"):
                cluster.cut(one, other)
        await cluster.names("2 members were lost at one time", "the network is split")


async def test_isolation_of_the_agent_itself(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha", "beta", "gamma") as cluster:
        for other in ("beta", "gamma"):
            cluster.cut("alpha", other)
        await cluster.names(
            "This agent is isolated: it hears no other member", "Check the network of the host of alpha"
        )


async def test_services_that_are_down_contested_or_ruled_in_vain_and_checks_that_flap(
    tmp_path: Path, modules: Path
) -> None:
    async with stage(tmp_path, modules, "alpha", "beta") as cluster:
        alpha, beta = cluster.running.values()
        await beta.register("users", 9000, id="u-1", checks=[{"ttl": "1h"}])
        await cluster.names("users has no instance that can serve", "not checked yet")
        await alpha.register("pg", 5432, id="pg-1", role="primary", term=1)
        await beta.register("pg", 5433, id="pg-2", role="primary", term=2)
        await cluster.names("Several instances claim to be the primary of pg", "pg-1 of a lower term is fenced")
        await put(alpha, "policies", {"service": "pg", "split": {"v1": 1, "v2": 1}})
        await cluster.names("The policy split:pg has no effect", "gossipreg policy remove split:pg")
        await alpha.register("web", 80, id="w-1", checks=[{"ttl": "1h", "name": "beat"}])
        for turn in range(16):
            await put(alpha, f"heartbeats/w-1?health={'critical' if turn % 2 else 'passing'}")
        await cluster.names("The check beat of w-1 flaps", "whether its timeout is too short")


async def test_so_many_lost_that_callers_may_panic(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha", "beta", "gamma", "delta") as cluster:
        several = list(cluster.running.values())
        ids = [await agent.register("orders", 8080, id=f"o-{agent.name}") for agent in several[:3]]
        await cluster.agents.agree(several, offers={"orders": ids})
        for name in ("beta", "gamma"):
            await cluster.kill(name)
        await cluster.names("callers with a panic threshold above 33 % get lost ones, too")
        alpha = cluster.running["alpha"]

        async def panic() -> None:
            while True:
                await alpha.get("services/orders?panic=0.9")
                await trio.sleep(0.2)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(panic)
            await cluster.names("Lookups are answered in a panic")
            nursery.cancel_scope.cancel()


def otherwise(directory: Path, code: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Have agents that are started from now on run ``code`` first."""
    directory.mkdir()
    (directory / "sitecustomize.py").write_text(code)
    return lambda patch: patch.setenv("PYTHONPATH", str(directory))


async def test_a_clock_that_is_off(tmp_path: Path, modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clocks of two processes of one host cannot differ: the second agent's reading of it does."""
    flags = ("--key-file", key_file(tmp_path, "key"))
    async with stage(tmp_path, modules, "alpha", flags=flags) as cluster:
        late = "import time\nreal = time.time\ntime.time = lambda: real() - 100\n"
        with monkeypatch.context() as patch:
            otherwise(tmp_path / "late", late)(patch)
            beta = await cluster.start("beta", *flags)
        cluster.running = {"beta": beta}
        await cluster.show()
        await cluster.names("This agent has not joined the cluster", "synchronise both clocks")


async def test_members_of_mixed_versions(tmp_path: Path, modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stage(tmp_path, modules, "alpha") as cluster:
        with monkeypatch.context() as patch:
            otherwise(tmp_path / "newer", "import gossipreg\ngossipreg.__version__ = '9.8.7'\n")(patch)
            await cluster.start("beta")
        await cluster.names("Members run different versions", "9.8.7 (beta)")


async def test_a_data_directory_that_cannot_be_used_here_or_at_another_agent(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha") as cluster:
        data = tmp_path / "data"
        await cluster.start("beta", "--data-dir", str(data))
        data.rename(tmp_path / "elsewhere")
        await cluster.names(f"cannot use the data directory {data}", "Reported by beta about itself", "Make room")


def small_disk(at: Path) -> None:
    """Mount a file system of 2 MiB there. Skips the test where that is not allowed."""
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "gossipreg-test", str(at)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")


def fill_disk(at: Path) -> None:
    """Leave no room at all on a small file system."""
    with suppress(OSError), (at / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


async def register_in_vain(agent: Agent) -> None:
    """Register until the agent's disk refuses one: some space may be left in the files that it has."""
    meta = {f"key-{number}": "x" * 250 for number in range(60)}
    for number in range(200):
        answer = await ask(agent.http, "PUT", "instances", {"service": "users", "port": 1000 + number, "meta": meta})
        if answer.status == 500 and answer.document["code"] == "storage_error":
            return
        assert answer.status == 201, answer
    raise AssertionError("the disk refuses nothing")


def unmount_disk(at: Path) -> None:
    """Unmount it, also while an agent has files there."""
    subprocess.run(["umount", "-l", str(at)], check=True)


async def test_a_disk_that_is_full_at_another_agent(tmp_path: Path, modules: Path) -> None:
    async with stage(tmp_path, modules, "alpha") as cluster:
        disk = tmp_path / "small"
        small_disk(disk)
        try:
            beta = await cluster.start("beta", "--data-dir", str(disk / "data"))
            await cluster.browser.sees("2 members alive")
            fill_disk(disk)
            await register_in_vain(beta)
            await cluster.names(f"cannot use the data directory {disk / 'data'}", "disk is full", "beta about itself")
            (disk / "filler").unlink()
            await cluster.browser.run(
                "await page.getByText('cannot use the data').first().waitFor({state: 'detached'})"
            )
        finally:
            unmount_disk(disk)
