"""The cluster as the benchmark drives it, the same for each product: start, change, kill, observe."""

from __future__ import annotations

import abc
import time
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import attrs
import trio

from tests.bench.ears import Ears
from tests.bench.processes import BenchError, Brood, Process
from tests.bench.sightings import Sightings

#: Between two looks at an agent whose view is not full yet (seconds).
LOOK_EVERY: Final = 0.02

#: How long all agents together may take to start (seconds).
START_PATIENCE: Final = 120.0


@attrs.frozen
class Agent:
    """One agent that is ready: its process, its gossip port, and the port at which it is asked."""

    process: Process
    gossip: int
    asked: int

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        return self.process.name


@attrs.frozen
class View:
    """What one agent sees: how many members are alive, and a mark that is equal for equal views."""

    alive: int
    mark: str


@attrs.frozen
class Settled:
    """The end of the first look around that found all views full and equal, and how long that look took."""

    at: float  # time.perf_counter
    look: float  # seconds


class AgentSession(Protocol):
    """An open connection to one agent."""

    async def offer(self, key: str) -> str:
        """Have the agent tell the others something new; returns what it will be known by in `Sightings`."""

    async def offers(self, key: str) -> bool:
        """Whether this agent's answers have what was offered with ``key``, by whichever agent."""

    async def view(self) -> View:
        """What it sees."""


@attrs.define(eq=False)
class Cluster(abc.ABC):
    """Agents of one kind on loopback, and what their observers have seen."""

    label: str
    ears: Ears
    brood: Brood
    agents: list[Agent] = attrs.field(factory=list)
    sightings: Sightings = attrs.field(factory=Sightings)
    _born: int = 0

    @abc.abstractmethod
    def spawn(self, name: str, seed: Agent | None) -> Process:
        """Start an agent's process and do not wait for it."""

    @abc.abstractmethod
    def agent(self, process: Process) -> Agent:
        """The agent in a process that is ready."""

    @abc.abstractmethod
    def session(self, agent: Agent) -> AbstractAsyncContextManager[AgentSession]:
        """Connect to an agent."""

    @abc.abstractmethod
    async def follow(self, agent: Agent) -> None:
        """Note what this agent sees, from the return of this call on."""

    @abc.abstractmethod
    def unfollow(self, agent: Agent) -> None:
        """Let go of an agent that is about to end."""

    async def start(self, count: int) -> tuple[float, float]:
        """Start a seed and, once it is ready, all others at once.

        Returns when the first of these was started and when the last was ready (``time.perf_counter``).
        """
        await self._join(1)
        began = time.perf_counter()
        await self._join(count - 1)
        return began, max(agent.process.ready_at for agent in self.agents)

    async def replace(self, victim: Agent) -> None:
        """Reap an agent that was ended on purpose, and start a new one, of a new name, in its place."""
        self.brood.reap(victim.process)
        await self._join(1)
        await self.follow(self.agents[-1])

    async def _join(self, count: int) -> None:
        seed = self.agents[0] if self.agents else None
        processes = []
        for _ in range(count):
            processes.append(self.spawn(f"n{self._born}", seed))
            self._born += 1
            await trio.lowlevel.checkpoint()
        with trio.move_on_after(START_PATIENCE) as patience:
            for process in processes:
                await process.wait_ready()
        if patience.cancelled_caught:
            raise BenchError(f"{self.label}: not all of {count} agents were ready after {START_PATIENCE:g} s")
        self.agents += [self.agent(process) for process in processes]

    def lose(self, victim: Agent) -> None:
        """Take an agent off the list, before it is hurt."""
        self.sightings.condemn(victim.name)
        self.unfollow(victim)
        self.agents.remove(victim)

    def end(self) -> None:
        """End all agents."""
        for agent in self.agents:
            self.unfollow(agent)
        self.brood.end_all()
        self.agents.clear()

    async def settle(self, patience: float) -> Settled | None:
        """Wait until every agent sees every agent alive, and all views are equal. None if that takes too long.

        One agent is asked at a time, so that the asking does not slow what it waits for: the next one is asked as soon
        as this one's view is full. When the last one's is, all are looked at again.
        """
        with trio.move_on_after(patience):
            while True:
                for agent in self.agents:
                    while (await self._view(agent)).alive != len(self.agents):  # noqa: ASYNC110 -- another process's
                        await trio.sleep(LOOK_EVERY)
                began = time.perf_counter()
                views = {await self._view(agent) for agent in self.agents}
                at = time.perf_counter()
                if len(views) == 1 and views.pop().alive == len(self.agents):
                    return Settled(at, at - began)
                await trio.sleep(LOOK_EVERY)
        return None

    async def _view(self, agent: Agent) -> View:
        async with self.session(agent) as session:
            return await session.view()
