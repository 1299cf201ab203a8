"""The rows of the benchmark: for each, what is done to a cluster, and between which two moments it is timed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Final

import attrs
import trio

from tests.bench import traffic
from tests.bench.burst import Burst, Bursts
from tests.bench.cluster import Agent, Cluster
from tests.bench.ears import Lateness
from tests.bench.figures import Board, Figure
from tests.bench.gossipreg_cluster import GossipregCluster
from tests.bench.processes import BenchError, Process, cpu_seconds, proportional_bytes, resident_bytes, stop
from tests.bench.sightings import FAILED, GONE, OFFERED

#: A reading of idle cost is cut into so many, to show how even it is.
IDLE_SLICES: Final = 4

_MIB: Final = 1 << 20


@attrs.frozen
class Plan:
    """What is to be measured, and how often.

    ``patience`` is how long anything may take; ``calm`` how long to wait until what was done has stopped echoing,
    longer than the gossip of either side goes on; ``age`` how old a cluster is before it is called idle (seconds);
    ``burst`` is how many registrations are one burst, over so many ``connections``.
    """

    nodes: int
    patience: float
    calm: float
    groups: frozenset[str] = frozenset()
    registrations: int = 1
    hurts: int = 1
    cold_starts: int = 1
    idle_seconds: float = 0.0
    age: float = 0.0
    burst: int = 1
    bursts: int = 1
    connections: int = 1


@attrs.define(eq=False)
class Acts:
    """The rows of one side."""

    cluster: Cluster
    plan: Plan
    board: Board
    lateness: Lateness
    say: Callable[[str], None]
    rng: Random = attrs.field(factory=lambda: Random(1))

    async def all(self) -> None:
        """Measure every row that is asked for, and end the cluster."""
        await self.cold_start()
        if "idle" in self.plan.groups:
            await self.idle()
        if "memory" in self.plan.groups:
            self.memory()
        if self.plan.groups & {"registration", "one", "kill", "stop", "burst"}:
            await self._watched()
        self.cluster.end()

    async def _watched(self) -> None:
        """The rows for which every agent's news are followed."""
        for agent in self.cluster.agents:
            await self.cluster.follow(agent)
        if "registration" in self.plan.groups:
            await self.registration()
        if "kill" in self.plan.groups:
            await self.hurt("kill", lambda process: process.popen.kill())
        if "stop" in self.plan.groups:
            await self.hurt("stop", stop)
        if "one" in self.plan.groups:
            await self.one()
        if "burst" in self.plan.groups:
            await self.burst()
        wrongly = self.cluster.sightings.wrongly_accused
        self._note(
            f"{len({subject for _, subject in wrongly})} members that were well were taken for failed, "
            f"{len(wrongly)} times in all"
        )

    async def cold_start(self) -> None:
        """Start the cluster; if the row is asked for, more than once. It is left running."""
        measured = "cold" in self.plan.groups
        views, starts, cpu = [], [], []
        for number in range(self.plan.cold_starts if measured else 1):
            if number:
                self.cluster.end()
            began, ready = await self.cluster.start(self.plan.nodes)
            self._say(f"{self.plan.nodes} agents are ready, {ready - began:.1f} s after the first was started")
            settled = await self.cluster.settle(self.plan.patience)
            views.append(math.inf if settled is None else settled.at - ready)
            starts.append(ready - began)
            cpu += [agent.process.startup_cpu for agent in self.cluster.agents]
            if settled is None:
                self._say(f"views are not full and equal after {self.plan.patience:g} s")
            else:
                self._say(f"all views are full and equal {views[-1]:.2f} s later (the look took {settled.look:.2f} s)")
        if measured:
            self._put("cold-views", views)
            self._put("cold-ready", starts)
            self._put("cold-cpu", cpu)

    async def idle(self) -> None:
        """Leave the cluster alone, and count what it does."""
        ready = max(agent.process.ready_at for agent in self.cluster.agents)
        await trio.sleep(max(self.plan.calm, ready + self.plan.age - time.perf_counter()))
        seconds = self.plan.idle_seconds / IDLE_SLICES
        counts: list[traffic.Count] = []
        shares: list[float] = []
        for _ in range(IDLE_SLICES):
            began, before = time.perf_counter(), self._cpu()
            counts.append(await traffic.count(self._ports(), seconds))
            shares.append(100 * (self._cpu() - before) / (time.perf_counter() - began) / self.plan.nodes)
        nodes_seconds = self.plan.nodes * seconds
        self._put("idle-bytes", [count.ip_bytes / nodes_seconds for count in counts], slices=True)
        self._put("idle-payload", [count.payload_bytes / nodes_seconds for count in counts], slices=True)
        self._put("idle-packets", [count.packets / nodes_seconds for count in counts], slices=True)
        self._put("idle-cpu", shares, slices=True)

    def memory(self) -> None:
        """Ask the kernel what every agent holds."""
        pids = [agent.process.pid for agent in self.cluster.agents]
        self._put("memory-rss", [resident_bytes(pid) / _MIB for pid in pids])
        self._put("memory-pss", [proportional_bytes(pid) / _MIB for pid in pids])

    async def registration(self) -> None:
        """One agent is told something new: from the moment it is sent to the agent until the last agent shows it."""
        took: list[float] = []
        late: list[float] = []
        for number in range(self.plan.registrations):
            agent = self.rng.choice(self.cluster.agents)
            began, seen = await self.offer(agent, f"new-{number}")
            took.append(1000 * (seen - began))
            late.append(self.lateness.take())
            await self._check(f"new-{number}", shown=True)
            await trio.sleep(self.plan.calm / 5)
        self._put("registration", took)
        self._note_lateness("registration", late)

    async def burst(self) -> None:
        """What one registration costs, and then, where there is such a thing, a burst of them."""
        rest, seconds, alone = await self.one()
        if isinstance(self.cluster, GossipregCluster):
            await self._bursts(self.cluster, rest, seconds, alone)
        else:
            self._note("there is nothing like a burst of registrations: an agent has one set of tags, 512 bytes in all")

    async def one(self) -> tuple[traffic.Count, float, float]:
        """What one registration costs beyond rest.

        Returns the traffic of rest, over how many seconds, and the median time of a registration (seconds).
        """
        await trio.sleep(self.plan.calm)
        seconds = max(self.plan.calm, self.plan.idle_seconds)
        cpu_before = self._cpu()
        rest = await traffic.count(self._ports(), seconds)
        cpu_of_rest = self._cpu() - cpu_before
        counts: list[traffic.Count] = []
        took: list[float] = []
        cpu: list[float] = []
        for number in range(self.plan.registrations):
            async with traffic.counting(self._ports()) as counter:
                counted_from, cpu_before = time.perf_counter(), self._cpu()
                began, seen = await self.offer(self.rng.choice(self.cluster.agents), f"one-{number}")
                await trio.sleep(self.plan.calm)
                times = (time.perf_counter() - counted_from) / seconds
                counts.append(counter.end().beyond(rest, times))
                cpu.append(1000 * (self._cpu() - cpu_before - times * cpu_of_rest) / self.plan.nodes)
            took.append(seen - began)
        self._put("one-packets", [count.packets / self.plan.nodes for count in counts])
        self._put("one-bytes", [count.ip_bytes / self.plan.nodes for count in counts])
        self._put("one-cpu", cpu)
        return rest, seconds, Figure.of(took).middle

    async def _bursts(self, cluster: GossipregCluster, rest: traffic.Count, seconds: float, alone: float) -> None:
        """Bursts through one agent after the other, each beside what is registered already."""
        for agent in cluster.agents:
            cluster.unfollow(agent)
        plan = self.plan
        bursts = Bursts(cluster, plan.burst, plan.connections, plan.patience, plan.calm, rest, seconds)
        found: list[Burst] = []
        late: list[float] = []
        for number in range(plan.bursts):
            told, other = self.rng.sample(cluster.agents, 2)
            self.lateness.take()
            found.append(await bursts.one(number, told, other))
            late.append(self.lateness.take())
        self._put("burst-seen", [burst.seen for burst in found])
        self._put("burst-answered", [burst.answered for burst in found])
        self._put("burst-packets", [burst.count.packets / self.plan.nodes for burst in found])
        self._put("burst-bytes", [burst.count.ip_bytes / self.plan.nodes / 1024 for burst in found])
        self._put("burst-beside", [1000 * burst.beside for burst in found])
        self._put("burst-slower", [burst.beside / alone for burst in found])
        self._note(
            f"burst: {plan.burst} instances each, pipelined over {plan.connections} connections; one that was alone "
            f"was seen by the last after {1000 * alone:.1f} ms (median), with packets counted meanwhile as in a burst"
        )
        self._note_lateness("burst", late)

    async def hurt(self, group: str, act: Callable[[Process], None]) -> None:
        """One agent that offers something is hurt: until the last of the others has noticed. Then it is replaced."""
        gone: list[float] = []
        failed: list[float] = []
        late: list[float] = []
        for number in range(self.plan.hurts):
            victim = self.rng.choice(self.cluster.agents[1:])  # not the seed: its successor has to join somewhere
            subject = await self._prepare(victim, f"{group}-{number}")
            self.cluster.lose(victim)
            others = [agent.name for agent in self.cluster.agents]
            self.lateness.take()
            began = time.perf_counter()
            act(victim.process)
            for what, name, took in ((GONE, subject, gone), (FAILED, victim.name, failed)):
                left = began + self.plan.patience - time.perf_counter()
                took.append(await self.cluster.sightings.by_all(what, name, others, left) - began)
            late.append(self.lateness.take())
            if math.isfinite(gone[-1]):
                await self._check(f"{group}-{number}", shown=False)
            victim.process.popen.kill()
            await self.cluster.replace(victim)
            if await self.cluster.settle(self.plan.patience) is None:
                self._note(f"views were not full again {self.plan.patience:g} s after {group} {number + 1}")
            await trio.sleep(self.plan.calm)
        self._put(f"{group}-gone", gone)
        self._put(f"{group}-failed", failed)
        self._note_lateness(group, late)

    async def _prepare(self, victim: Agent, key: str) -> str:
        """Have the victim offer something that all others see; returns what the sightings call it."""
        async with self.cluster.session(victim) as session:
            subject = await session.offer(key)
        observers = [agent.name for agent in self.cluster.agents]
        if math.isinf(await self.cluster.sightings.by_all(OFFERED, subject, observers, self.plan.patience)):
            raise BenchError(f"{self.cluster.label}: not all saw what {victim.name} offered before it was hurt")
        await trio.sleep(self.plan.calm)
        self.cluster.sightings.forget()
        return subject

    async def offer(self, agent: Agent, key: str) -> tuple[float, float]:
        """When the agent was told, and when the last one showed it. The connection is made before."""
        self.cluster.sightings.forget()
        observers = [each.name for each in self.cluster.agents]
        async with self.cluster.session(agent) as session:
            self.lateness.take()
            began = time.perf_counter()
            subject = await session.offer(key)
        return began, await self.cluster.sightings.by_all(OFFERED, subject, observers, self.plan.patience)

    async def _check(self, key: str, *, shown: bool) -> None:
        """Do not trust the news alone: every agent's answers must agree with them."""
        for agent in self.cluster.agents:
            async with self.cluster.session(agent) as session:
                if await session.offers(key) != shown:
                    raise BenchError(
                        f"{self.cluster.label}: {agent.name} told that {key} was {'there' if shown else 'gone'}, "
                        "but answers otherwise"
                    )

    def _ports(self) -> frozenset[int]:
        return frozenset(agent.gossip for agent in self.cluster.agents)

    def _cpu(self) -> float:
        return sum(cpu_seconds(agent.process.pid) for agent in self.cluster.agents)

    def _put(self, key: str, values: Sequence[float], *, slices: bool = False) -> None:
        self.board.put(key, self.cluster.label, Figure.of(values, slices=slices))
        self._say(f"{key}: {self.board.figures[key][self.cluster.label]}")

    def _note_lateness(self, group: str, late: Sequence[float]) -> None:
        worst = ", ".join(f"{1000 * each:.0f}" for each in late)
        self._note(f"{group}: while each was timed the observer woke up late by at most {worst} ms")

    def _note(self, text: str) -> None:
        self.board.notes.append(f"{self.cluster.label}: {text}")
        self._say(text)

    def _say(self, text: str) -> None:
        self.say(f"{self.cluster.label}: {text} [load {os.getloadavg()[0]:.1f}]")
