"""etcd, ZooKeeper, Eureka and gossipreg at the same job: 64 clients register themselves, and watch each other.

    python tests/bench/registries.py                                      all sides: twenty minutes
    python tests/bench/registries.py --sides etcd,etcd-tight --clients 8  some, with fewer clients

Each client is a process with a connection of its own. It registers an instance, and shows what comes and goes. All are
told by their standard input and say on standard output what they see, so the observer and its costs are the same. The
sides run one after the other:

    attached          three agents, encrypted; each client attaches to one of them over its socket
    members           each client embeds a node, encrypted; there is no server
    etcd              three servers; Go client v3, one lease of 60 s, the default of its sessions; a watch of the prefix
    etcd-tight        a lease of 2 s, the least that a server with defaults grants
    zookeeper         three servers, Debian's settings; Go client, a session of 10 s (kazoo's default); ephemeral nodes
    zookeeper-tight   ticks of 1 s, and sessions of two of them, the least that is allowed
    eureka            one server of Spring Cloud's with defaults; clients renew and fetch changes each 30 s
    eureka-tight      renews, fetches and evicts each second, leases of 3 s, no read-only cache, no self-preservation

    registration  one more instance, from the moment that a client is told until the last one shows it; with what it
                  costs beyond rest, all processes and the whole network together
    kill, stop    SIGKILL or SIGSTOP of a client, until the last of the others has dropped its instance
    reads         how often one client reads the service in a second: etcd (serializable), ZooKeeper and Eureka ask a
                  server, as their APIs do; a node of gossipreg and an attached process answer from memory
    burst         a thousand instances through one client, 16 requests under way, until the last has shown all of them
    idle, memory  while nothing changes; servers and clients apart. Clients of the peers are in Go, ours in Python

Needs etcd and ZooKeeper (Debian: etcd-server, zookeeper), Go and its module proxy for the peers' clients, Maven and its
registry for Eureka's server, and CAP_NET_RAW to count traffic. What cannot be had is left out with a word about it.
Exit status: 0 measured, 1 not all measured, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import click
import trio

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench import traffic
from tests.bench.bytecode import bytecode_kept
from tests.bench.cluster import Agent
from tests.bench.ears import Ears, listen_first
from tests.bench.figures import Figure, ratio_text
from tests.bench.line_cluster import Command, LineCluster, own_node
from tests.bench.peer_programs import build
from tests.bench.processes import BenchError, Brood, Usage, cpu_seconds, proportional_bytes, stop
from tests.bench.registry_servers import (
    Servers,
    start_agents,
    start_etcd,
    start_eureka,
    start_none,
    start_zookeeper,
)
from tests.bench.sightings import GONE, OFFERED
from tests.bench.tables import machine, markdown

_MIB: Final = 1 << 20

#: Clients that are told to register, one after the other.
_TELLERS: Final = 7

#: Sources of Eureka's server, which the tests beside it build, too; how long Maven may take (seconds).
_EUREKA: Final = Path(__file__).parents[1] / "peers" / "eureka" / "server"
_MAVEN_PATIENCE: Final = 400

_EUREKA_TIGHT: Final = (
    "--eureka.server.eviction-interval-timer-in-ms=1000",
    "--eureka.server.use-read-only-response-cache=false",
    "--eureka.server.enable-self-preservation=false",
    "--eureka.server.expected-client-renewal-interval-seconds=1",
)


@attrs.frozen
class Side:
    """One registry with certain settings: how its servers start, and its client, of which `options` are the last words.

    ``patience`` is how long a change may take to be seen (seconds).
    """

    start: Callable[[Brood], Awaitable[Servers]]
    program: str = ""
    options: tuple[str, ...] = ()
    patience: float = 60.0

    def client(self, servers: Servers, built: dict[str, Path]) -> Command:
        """The command line of a client, by its name."""
        if not self.program:
            return partial(self._own, servers)
        addresses = ",".join(servers.addresses)
        return lambda _name, _seed: [str(built[self.program]), addresses, *self.options]

    def _own(self, servers: Servers, name: str, seed: str | None) -> Sequence[str]:
        if servers.processes:
            number = int(name.removeprefix("n"))
            return own_node("--attach", servers.addresses[number % len(servers.addresses)])
        return own_node("--name", name, "--key-file", servers.addresses[0], *([f"--join={seed}"] if seed else []))


def sides(eureka_classes: str) -> dict[str, Side]:
    """All of them, by name."""
    eureka = partial(start_eureka, classes=eureka_classes)
    return {
        "attached": Side(start_agents, patience=30),
        "members": Side(start_none, patience=30),
        "etcd": Side(start_etcd, "etcd", ("60",), patience=120),
        "etcd-tight": Side(start_etcd, "etcd", ("2",)),
        "zookeeper": Side(partial(start_zookeeper, tick_ms=2000), "zookeeper", ("10",)),
        "zookeeper-tight": Side(partial(start_zookeeper, tick_ms=1000), "zookeeper", ("2",)),
        "eureka": Side(partial(eureka, settings=()), "eureka", ("30", "90", "30"), patience=400),
        "eureka-tight": Side(partial(eureka, settings=_EUREKA_TIGHT), "eureka", ("1", "3", "1")),
    }


OURS: Final = ("attached", "members")
SIDES: Final = tuple(sides(""))

#: What is measured: by key, its title and unit.
ROWS: Final = {
    "registration": ("a registration, seen by the last", "ms"),
    "registration-packets": ("a registration: packets, all together", ""),
    "registration-bytes": ("a registration: bytes, all together", "B"),
    "registration-cpu": ("a registration: CPU, all together", "ms"),
    "kill": ("`kill -9` of a client: gone from the last", "s"),
    "stop": ("SIGSTOP of a client: gone from the last", "s"),
    "reads": ("reads a second of one client", "1/s"),
    "burst": ("a burst of registrations, all seen by the last", "s"),
    "burst-cpu": ("a burst: CPU, all together", "s"),
    "idle-bytes": ("idle: bytes a second, all together", "B/s"),
    "idle-servers": ("idle: CPU of all servers, of one core", "%"),
    "idle-clients": ("idle: CPU of a client, of one core", "%"),
    "memory-servers": ("memory of all servers, shared pages divided", "MiB"),
    "memory-client": ("memory of a client, shared pages divided", "MiB"),
}


@attrs.define(eq=False)
class Run:
    """One side, measured; figures by the key of their row."""

    label: str
    side: Side
    servers: Servers
    cluster: LineCluster
    options: argparse.Namespace
    figures: dict[str, Figure] = attrs.field(factory=dict)
    watching: list[Agent] = attrs.field(factory=list)
    victims: list[Agent] = attrs.field(factory=list)

    async def all(self) -> None:
        """Measure every row. Raises ``BenchError``."""
        hurts = 2 * self.options.hurts
        await self.cluster.start(self.options.clients + hurts)
        self.watching = self.cluster.agents[: self.options.clients]
        self.victims = self.cluster.agents[self.options.clients :]
        await self._register_all()
        await trio.sleep(self.options.settle)
        rest, seconds, cpu = await self._idle()
        await self._registrations(rest, seconds, cpu)
        async with self.cluster.session(self.watching[0]) as session:
            [count] = await session.ask(f"read {self.options.seconds}")
        self.put("reads", [int(count) / self.options.seconds])
        await self._hurts()
        if self.options.burst:
            await self._burst()
        self.cluster.end()

    def put(self, key: str, values: Sequence[float]) -> None:
        """Write down a figure."""
        self.figures[key] = Figure.of(values)
        self.say(f"{ROWS[key][0]}: {self.figures[key]} {ROWS[key][1]}")

    def say(self, text: str) -> None:
        """Tell how far it is."""
        click.echo(f"{self.label}: {text} [load {os.getloadavg()[0]:.1f}]", err=True)

    async def _register_all(self) -> None:
        for agent in self.cluster.agents:
            async with self.cluster.session(agent) as session:
                await session.offer(f"own-{agent.name}")
        for agent in self.cluster.agents:
            await self._seen(OFFERED, f"own-{agent.name}")
        self.say(f"{len(self.cluster.agents)} clients see each other")

    async def _seen(self, what: str, key: str, *, must: bool = True) -> float:
        """When the last of those that watch saw it. Raises ``BenchError`` if it ``must`` be seen and is not."""
        names = [agent.name for agent in self.watching]
        at = await self.cluster.sightings.by_all(what, key, names, self.side.patience)
        if must and math.isinf(at):
            raise BenchError(f"{self.label}: {key} was not {what} everywhere within {self.side.patience:g} s")
        return at

    def _pids(self) -> tuple[list[int], list[int]]:
        clients = [agent.process.pid for agent in self.cluster.agents]
        return [process.pid for process in self.servers.processes], clients

    def _ports(self) -> frozenset[int]:
        return self.servers.ports or frozenset(agent.gossip for agent in self.cluster.agents)

    def _cpu(self) -> float:
        servers, clients = self._pids()
        return sum(map(cpu_seconds, (*servers, *clients)))

    async def _idle(self) -> tuple[traffic.Count, float, float]:
        """Watch rest; returns its traffic, how long that took, and the CPU of all (seconds)."""
        servers, clients = self._pids()
        before = {pid: cpu_seconds(pid) for pid in (*servers, *clients)}
        began, seconds = time.perf_counter(), self.options.idle_seconds
        rest = await traffic.count(self._ports(), seconds)
        seconds = time.perf_counter() - began
        spent = {pid: cpu_seconds(pid) - each for pid, each in before.items()}
        self.put("idle-bytes", [rest.ip_bytes / seconds])
        if servers:
            self.put("idle-servers", [100 * sum(spent[pid] for pid in servers) / seconds])
            self.put("memory-servers", [sum(map(proportional_bytes, servers)) / _MIB])
        self.put("idle-clients", [100 * spent[pid] / seconds for pid in clients])
        self.put("memory-client", [proportional_bytes(pid) / _MIB for pid in clients])
        return rest, seconds, sum(spent.values())

    async def _registrations(self, rest: traffic.Count, seconds: float, cpu_of_rest: float) -> None:
        """Some, one each few seconds, whether the one before was seen or not."""
        count = self.options.registrations
        took: list[float] = []
        before, counted_from = self._cpu(), time.perf_counter()
        async with traffic.counting(self._ports()) as counter:
            async with trio.open_nursery() as nursery:
                for number in range(count):
                    nursery.start_soon(self._registration, f"new-{number}", self.watching[number % _TELLERS], took)
                    await trio.sleep(self.options.calm)
            times = (time.perf_counter() - counted_from) / seconds
            beyond = counter.end().beyond(rest, times)
            cpu = self._cpu() - before - times * cpu_of_rest
        self.put("registration", took)
        self.put("registration-packets", [beyond.packets / count])
        self.put("registration-bytes", [beyond.ip_bytes / count])
        self.put("registration-cpu", [1000 * cpu / count])
        for agent in (self.watching[0], self.watching[-1]):
            async with self.cluster.session(agent) as session:
                if not await session.offers("new-0"):
                    raise BenchError(f"{self.label}: {agent.name} showed new-0, and its registry does not have it")

    async def _registration(self, key: str, agent: Agent, took: list[float]) -> None:
        async with self.cluster.session(agent) as session:
            began = time.perf_counter()
            await session.offer(key)
        took.append(1000 * (await self._seen(OFFERED, key) - began))

    async def _hurts(self) -> None:
        """Kill some and stop some, in turns, each some seconds after the one before."""
        gone: dict[str, list[float]] = {"kill": [], "stop": []}
        async with trio.open_nursery() as nursery:
            for number, victim in enumerate(self.victims):
                nursery.start_soon(self._hurt, victim, gone["stop" if number % 2 else "kill"], number % 2 == 1)
                await trio.sleep(2 * self.options.calm)
        for key, values in gone.items():
            if values:
                self.put(key, values)
        self.cluster.agents = list(self.watching)

    async def _hurt(self, victim: Agent, took: list[float], stopped: bool) -> None:
        began = time.perf_counter()
        if stopped:
            stop(victim.process)
        else:
            victim.process.popen.kill()
        took.append(await self._seen(GONE, f"own-{victim.name}", must=False) - began)

    async def _burst(self) -> None:
        """Many instances through one client."""
        cpu, began = self._cpu(), time.perf_counter()
        async with self.cluster.session(self.watching[1]) as session:
            await session.ask(f"burst many {self.options.burst}")
        last = max([await self._seen(OFFERED, f"many-{number}") for number in range(self.options.burst)])
        self.put("burst", [last - began])
        self.put("burst-cpu", [self._cpu() - cpu])


def eureka_server(directory: Path) -> str:
    """Build Spring Cloud's server; returns the class path. Raises ``BenchError``."""
    if shutil.which("mvn") is None or shutil.which("javac") is None:
        raise BenchError("a JDK or Maven is not installed (Debian: default-jdk-headless maven)")
    place = directory / "eureka-server"
    shutil.copytree(_EUREKA, place)
    command = ["mvn", "-q", "-B", "package", "dependency:copy-dependencies", "-DoutputDirectory=libraries"]
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, cwd=place, capture_output=True, timeout=_MAVEN_PATIENCE, check=False)
        if done.returncode == 0:
            return f"{place}/target/classes:{place}/libraries/*"
    raise BenchError("Maven cannot build Spring Cloud's Eureka server")


@attrs.define(eq=False)
class Registries:
    """All sides of a run, one after the other: figures by side and row, and notes."""

    options: argparse.Namespace
    directory: Path
    found: dict[str, dict[str, Figure]] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)
    failed: bool = False

    async def measure(self) -> None:
        """Measure every side that can be had."""
        ears = Ears()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ears.listen)
            classes = self.options.eureka_classes
            for label in self.options.sides:
                try:
                    if label.startswith("eureka") and not classes:
                        classes = eureka_server(self.directory)
                    side = sides(classes)[label]
                    built = build([side.program], self.directory) if side.program else {}
                except BenchError as error:
                    self.notes.append(f"{label} is left out: {error}")
                    continue
                await self._one(label, side, built, ears)
            nursery.cancel_scope.cancel()

    async def _one(self, label: str, side: Side, built: dict[str, Path], ears: Ears) -> None:
        before = Usage.now()
        try:
            with Brood(ears, self.options.nice) as brood:
                servers = await side.start(brood)
                cluster = LineCluster(label, ears, brood, command=side.client(servers, built))
                run = Run(label, side, servers, cluster, self.options)
                self.found[label] = run.figures
                await run.all()
        except BenchError as error:
            absent = "not installed" in str(error)
            self.failed |= not absent
            self.notes.append(f"{label} is left out: {error}" if absent else f"{label}: {error}")
            return
        others = Usage.now().by_others_since(before)
        self.notes.append(f"{label}: other programs kept {others:.2f} cores busy meanwhile, on average")

    def table(self) -> str:
        """Every figure of ours beside each peer's, in Markdown."""
        rows = [["what", "beside", "unit", "its figure", "attached", "to attached", "members", "to members"]]
        peers = [label for label in self.found if label not in OURS] or [""]
        for key, (title, unit) in ROWS.items():
            for peer in peers:
                theirs = self.found.get(peer, {}).get(key)
                cells = [title, peer, unit, str(theirs or "")]
                for label in OURS:
                    ours = self.found.get(label, {}).get(key)
                    cells += [str(ours or ""), _ratio(ours, theirs)]
                rows.append(cells)
        return markdown(rows)


def _ratio(ours: Figure | None, theirs: Figure | None) -> str:
    """Ours to theirs; nothing if that says nothing."""
    if ours is None or theirs is None or theirs.middle <= 0 or ours.middle <= 0:
        return ""
    ratio = ours.middle / theirs.middle
    return ratio_text(ratio) if math.isfinite(ratio) and ratio > 0 else ""


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a sentence about it if it cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", default=",".join(SIDES), metavar="A,B", help=f"of {','.join(SIDES)}")
    parser.add_argument("--clients", type=int, default=64, metavar="N", help="that watch (64)")
    parser.add_argument("--registrations", type=int, default=10, metavar="N", help="how many are timed (10)")
    parser.add_argument("--hurts", type=int, default=3, metavar="N", help="more clients to kill, and to stop (3)")
    parser.add_argument("--burst", type=int, default=1000, metavar="N", help="registrations in a burst; 0: none (1000)")
    parser.add_argument("--seconds", type=float, default=3, metavar="S", help="how long reads last (3)")
    parser.add_argument("--idle-seconds", type=float, default=20, metavar="S", help="how long idle lasts (20)")
    parser.add_argument("--calm", type=float, default=3, metavar="S", help="between two changes (3)")
    parser.add_argument("--settle", type=float, default=20, metavar="S", help="from the start to the idle rows (20)")
    parser.add_argument("--nice", type=int, default=0, metavar="N", help="niceness of all processes (0)")
    parser.add_argument("--eureka-classes", default="", metavar="PATH", help="class path of a server that is built")
    options = parser.parse_args(given)
    options.sides = options.sides.split(",")
    if unknown := set(options.sides) - set(SIDES):
        parser.error(f"--sides: there is no {', '.join(sorted(unknown))}; there are {', '.join(SIDES)}")
    if options.clients < _TELLERS or options.registrations < 1 or options.hurts < 0:
        parser.error(f"--clients: {_TELLERS} or more; --registrations: 1 or more; --hurts: 0 or more")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = arguments(given)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="gossipreg-bench-") as directory, bytecode_kept():
        run = Registries(options, Path(directory))
        if not listen_first():
            run.notes.append("the observer has no right to real-time priority: its stamps may be late")
        trio.run(run.measure)
    notes = "\n".join(f"- {note}" for note in run.notes)
    click.echo(
        f"{options.clients} clients of each, on 127.0.0.1, niceness {options.nice}; {machine(load)}.\n"
        f"Median (lowest to highest, number of values).\n\n{run.table()}\n\n{notes}"
    )
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
