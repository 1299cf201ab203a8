"""An agent under every attack at once: `python -m tests.bench.siege`.

Two agents, sealed; the one that is attacked offers a service of some hundred instances. `tests.fuzz.hostile_client`
attacks its HTTP API, its DNS and its gossip port, each from a process of its own; the floods at a low priority, since
on two cores they would take all of both from the agent, which a flood from elsewhere would not. Meanwhile
`/healthz` is asked again and again on new connections from another address, what the other agent sees of it is looked
at, and its memory and descriptors are read from the kernel.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs
import click
import trio

from gossipreg.key_format import key_id
from gossipreg.model import Address
from tests.bench.processes import be_nice, cpu_seconds
from tests.bench.tables import machine, markdown, verdict
from tests.drills.agents import Agent, fixed_address, key_file, open_agents, read_key
from tests.fuzz.hostile_client import NICENESS

#: What `/healthz` may take, of 100 times 99 (milliseconds).
TARGET: Final = 250.0

#: How much more the agent may hold in the last third of the siege than in the third before (MiB).
GROWTH: Final = 32.0

#: Descriptors that an agent may ever hold: connections, and all else of it.
DESCRIPTORS: Final = 9216 + 1024 + 64 + 512

#: Where health is asked from: another address than the attackers', as another machine would have.
_PROBER: Final = "127.0.0.9"

#: How long the agent is watched before and after the siege (seconds).
_CALM: Final = 10.0

#: Time between two questions (seconds), and how long an answer is waited for.
_PERIOD: Final = 0.05
_PATIENCE: Final = 10.0


@attrs.define
class Watch:
    """What was seen of an agent over a time."""

    latencies: list[float] = attrs.field(factory=list)  # ms; infinite if there was no answer
    resident: list[float] = attrs.field(factory=list)  # MiB
    descriptors: list[int] = attrs.field(factory=list)
    statuses: Counter[str] = attrs.field(factory=Counter)  # in the other agent's eyes
    cpu: float = 0.0  # seconds
    seconds: float = 0.0

    def percentile(self, share: float) -> float:
        """The latency that ``share`` of the answers took at most."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.inf


async def watch(agent: Agent, other: Agent, seconds: float) -> Watch:
    """Look at ``agent`` for so long."""
    seen = Watch()
    began, cpu = time.perf_counter(), cpu_seconds(agent.process.pid)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_health, agent, seen)
            nursery.start_soon(_look_at_process, agent, seen)
            nursery.start_soon(_ask_the_other, agent, other, seen)
    seen.seconds, seen.cpu = time.perf_counter() - began, cpu_seconds(agent.process.pid) - cpu
    return seen


async def _ask_health(agent: Agent, seen: Watch) -> None:
    at = Address.parse(agent.http)
    while True:
        began = time.perf_counter()
        taken = math.inf
        with trio.move_on_after(_PATIENCE), suppress(OSError, trio.BrokenResourceError):
            if await healthy(at):
                taken = 1000 * (time.perf_counter() - began)
        seen.latencies.append(taken)
        await trio.sleep(_PERIOD)


async def healthy(at: Address) -> bool:
    """Whether the agent answers on a new connection that it is up. Raises ``OSError`` and trio's errors."""
    asking = trio.socket.socket(trio.socket.AF_INET)
    with asking:
        await asking.bind((_PROBER, 0))
        await asking.connect(tuple(at))
        await asking.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return (await asking.recv(4096)).startswith(b"HTTP/1.1 200 ")


async def _look_at_process(agent: Agent, seen: Watch) -> None:
    while True:
        seen.resident.append(agent.resident() / 2**20)
        seen.descriptors.append(descriptors(agent))
        await trio.sleep(0.5)


def descriptors(agent: Agent) -> int:
    """How many descriptors an agent has open."""
    return len(os.listdir(f"/proc/{agent.process.pid}/fd"))


async def _ask_the_other(agent: Agent, other: Agent, seen: Watch) -> None:
    while True:
        seen.statuses[(await other.sight()).members.get(agent.name, "unknown")] += 1
        await trio.sleep(0.2)


@attrs.frozen
class Attacker:
    """A hostile client: how it is started, and its niceness."""

    command: list[str]
    niceness: int


def attackers(agent: Agent, dns: str, key: bytes, niceness: int, *told: str) -> list[Attacker]:
    """The hostile clients. The floods are nice, since they alone would take both cores; ``told`` are options of all."""
    options = ["--seconds", "3600", "--key-id", key_id(key), *told]
    return [
        Attacker(
            [sys.executable, "-m", "tests.fuzz.hostile_client", kind, to, "--nice", str(nice), *options],
            nice,
        )
        for kind, to, nice in (("http", agent.http, 0), ("gossip", agent.gossip, niceness), ("dns", dns, niceness))
    ]


async def _started(attacker: Attacker) -> trio.Process:
    """A process in a session of its own: where the kernel groups tasks by session, niceness is one of the session."""
    process = await trio.lowlevel.open_process(attacker.command, stdout=subprocess.PIPE, start_new_session=True)
    with suppress(OSError):  # it has just ended, or may not be made nice here
        be_nice(process.pid, attacker.niceness)
    return process


@asynccontextmanager
async def attacked(by: list[Attacker]) -> AsyncIterator[Counter[str]]:
    """Have the hostile clients attack meanwhile; what they did, as far as they told."""
    done: Counter[str] = Counter()

    async def hear(process: trio.Process) -> None:
        before: Counter[str] = Counter()
        rest = b""
        assert process.stdout is not None
        async with process.stdout:
            async for part in process.stdout:
                *lines, rest = (rest + bytes(part)).split(b"\n")
                for line in lines:
                    now = Counter(json.loads(line))
                    done.update(now - before)
                    before = now

    processes = [await _started(each) for each in by]
    try:
        async with trio.open_nursery() as nursery:
            for process in processes:
                nursery.start_soon(hear, process)
            yield done
            for process in processes:
                process.kill()
    finally:
        for process in processes:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


@attrs.frozen
class Siege:
    """The three times: before, during, after, and what the attackers did."""

    before: Watch
    during: Watch
    after: Watch
    done: Counter[str]
    counters: Counter[str]


async def besiege(seconds: float, instances: int, niceness: int, *told: str) -> Siege:
    """Start the agents, attack one of them, and watch. ``told``: options of the hostile clients."""
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        file = key_file(home, "key")
        dns = fixed_address()
        async with open_agents(home) as agents:
            other = await agents.start("other", "--key-file", file)
            agent = await agents.start("besieged", "--key-file", file, "--dns", dns, join=[other])
            await agents.agree([agent, other])
            for number in range(instances):
                await agent.register("orders", 1000 + number, meta={"k": str(number)})
            before = await watch(agent, other, _CALM)
            async with attacked(attackers(agent, dns, read_key(file), niceness, *told)) as done:
                during = await watch(agent, other, seconds)
            await trio.sleep(_CALM / 2)
            return Siege(before, during, await watch(agent, other, _CALM), done, await agent.counters())


def grown(seen: Watch) -> float:
    """How much more an agent held in the last third of a time than in the third before (MiB)."""
    third = len(seen.resident) // 3
    return max(seen.resident[-third or 0 :]) - max(seen.resident[third : 2 * third or 1])


def table(siege: Siege) -> str:
    """The figures for people, as they stand in the documentation."""
    rows = [["what", "unit", "before", "under siege", "after", "target", ""]]
    times = (siege.before, siege.during, siege.after)
    growth = grown(siege.during)

    def row(what: str, unit: str, values: list[Any], target: str = "", met: bool | None = None) -> None:
        rows.append([what, unit, *map(str, values), target, "" if met is None else verdict(met)])

    for share in (0.5, 0.99):
        values = [_ms(each.percentile(share)) for each in times]
        is_target = share == 0.99
        met = siege.during.percentile(share) <= TARGET if is_target else None
        row(f"`/healthz`, {share:.0%}", "ms", values, f"≤ {TARGET:g}" if is_target else "", met)
    row("answers, of which missing", "", [f"{len(each.latencies)}, {each.latencies.count(math.inf)}" for each in times])
    alive = siege.during.statuses.total() == siege.during.statuses["alive"]
    row("in the other agent's eyes", "looks", [_counted(each.statuses) for each in times], "alive", alive)
    row("CPU", "cores", [f"{each.cpu / each.seconds:.2f}" for each in times])
    row("resident, most", "MiB", [f"{max(each.resident):.0f}" for each in times])
    row(
        "resident, last third less the one before",
        "MiB",
        ["", f"{growth:+.1f}", ""],
        f"≤ {GROWTH:g}",
        growth <= GROWTH,
    )
    most = [max(each.descriptors) for each in times]
    row("descriptors, most", "", most, f"≤ {DESCRIPTORS}", max(most) <= DESCRIPTORS)
    row("descriptors, at the end", "", [each.descriptors[-1] for each in times])
    return markdown(rows)


def _ms(value: float) -> str:
    return "none" if math.isinf(value) else f"{value:.1f}"


def _counted(statuses: Counter[str]) -> str:
    return ", ".join(f"{status} {count}" for status, count in sorted(statuses.items()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=30.0, help="of siege (default: %(default)g)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the connections (default: %(default)g)")
    parser.add_argument("--rate", type=float, default=50_000, help="of each flood, packets/s (default: %(default)g)")
    parser.add_argument("--instances", type=int, default=300, help="that the agent offers (default: %(default)s)")
    parser.add_argument("--nice", type=int, default=NICENESS, help="of the floods (default: %(default)s)")
    given = parser.parse_args()
    load_before = os.getloadavg()[0]
    told = ("--scale", str(given.scale), "--rate", str(given.rate))
    siege = trio.run(besiege, given.seconds, given.instances, given.nice, *told)
    click.echo(table(siege))
    click.echo(f"\nThe attackers, floods at niceness {given.nice}, began or sent: {_counted(siege.done)}.")
    shown = {name: count for name, count in siege.counters.items() if name.startswith(("packets_", "dns_")) and count}
    click.echo("\nThe agent counted: " + _counted(Counter(shown)) + ".")
    click.echo(f"\n`python -m tests.bench.siege`: {given.seconds:g} s; {machine(load_before)}.")


if __name__ == "__main__":
    main()
