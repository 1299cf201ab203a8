"""A burst of registrations through one agent: what it costs, and how long it delays another agent's.

All requests are sent at once, over one connection or several, without waiting for an answer in between, as a client
does that pipelines. When half of them are answered, one more instance is registered through another agent. Time runs
from the first byte until the last agent has shown the last of the instances; packets and bytes are counted until the
echoes are over, and what the cluster sends at rest in as long a time is taken off.

What the agents show is only put aside, with the moment of each piece, until everything is there: to understand a
thousand events of each of 64 agents meanwhile would take the agents' CPU from them.
"""

from __future__ import annotations

import math
import time
from contextlib import AsyncExitStack
from typing import Any, Final

import attrs
import trio

from tests.bench import http_client, traffic
from tests.bench.cluster import Agent
from tests.bench.gossipreg_cluster import GossipregCluster
from tests.bench.http_client import EventStream, HttpClient
from tests.bench.offers import body, offer
from tests.bench.processes import BenchError
from tests.bench.traffic import Count

_ADDED: Final = b"event: instance-added\n"


@attrs.frozen
class Burst:
    """What one burst was: seconds, and what was sent. Infinity is what did not happen in time."""

    seen: float
    answered: float
    beside: float
    count: Count


@attrs.define
class Word:
    """Counts a word in a stream of bytes, wherever that is cut."""

    word: bytes
    count: int = 0
    _rest: bytes = b""

    def feed(self, said: bytes) -> None:
        """Look at what comes next."""
        said = self._rest + said
        self.count += said.count(self.word)
        self._rest = said[-(len(self.word) - 1) :]


@attrs.define(eq=False)
class Witness:
    """What one agent showed: pieces of its stream with their moments, understood only when asked for."""

    wanted: int
    on_all: trio.Event = attrs.field(factory=trio.Event)
    _pieces: list[tuple[float, bytes]] = attrs.field(factory=list)
    _added: Word = attrs.field(factory=lambda: Word(_ADDED))

    def hear(self, at: float, said: bytes) -> None:
        """What came over the connection."""
        self._pieces.append((at, said))
        self._added.feed(said)
        if self._added.count >= self.wanted:
            self.on_all.set()

    def shown(self, stream: EventStream) -> dict[str, float]:
        """By instance: the moment in which it was added."""
        found: dict[str, float] = {}

        def on_event(at: float, name: str, data: Any) -> None:
            if name == "instance-added":
                found.setdefault(data["id"], at)

        stream.on_event = on_event
        for at, said in self._pieces:
            stream.hear(at, said)
        self._pieces.clear()
        return found


@attrs.define(eq=False)
class Bursts:
    """Bursts through agents of a cluster that is at rest, whose events no other program follows."""

    cluster: GossipregCluster
    size: int
    connections: int
    patience: float  # seconds
    calm: float  # seconds, longer than echoes last
    rest: Count  # what all of the cluster sends at rest
    rest_seconds: float  # in so long

    async def one(self, number: int, told: Agent, other: Agent) -> Burst:
        """One burst through ``told``, with one registration through ``other``. Raises ``BenchError`` if it fails."""
        bodies = [
            body(attrs.evolve(offer(each), id=f"burst-{number}-{each}", service=f"burst-{number}-{each % 100}"))
            for each in range(self.size)
        ]
        beside = f"beside-{number}"
        witnesses = {agent.name: Witness(self.size + 1) for agent in self.cluster.agents}
        streams = {agent.name: await self._open(agent, witnesses[agent.name]) for agent in self.cluster.agents}
        ports = frozenset(agent.gossip for agent in self.cluster.agents)
        try:
            async with traffic.counting(ports) as counter:
                counted_from = time.perf_counter()
                began, answered, beside_began = await self._tell(told, other, bodies, beside)
                with trio.move_on_after(self.patience):
                    for witness in witnesses.values():
                        await witness.on_all.wait()
                await trio.sleep(self.calm)
                seconds = time.perf_counter() - counted_from
                count = counter.end().beyond(self.rest, seconds / self.rest_seconds)
        finally:
            for stream in streams.values():
                self.cluster.ears.forget(stream.socket.fileno())
                stream.socket.close()
        shown = {name: witness.shown(streams[name]) for name, witness in witnesses.items()}
        seen = max(each.get(made["id"], math.inf) for each in shown.values() for made in bodies)
        if math.isfinite(seen):
            await self._check(number, {made["id"] for made in bodies})
        return Burst(
            seen - began,
            answered - began,
            max(each.get(beside, math.inf) for each in shown.values()) - beside_began,
            count,
        )

    async def _open(self, agent: Agent, witness: Witness) -> EventStream:
        """Follow an agent, from its snapshot on."""
        begun = trio.Event()
        stream = EventStream.open(agent.asked, lambda at, name, data: begun.set() if name == "snapshot" else None)
        self.cluster.ears.follow(stream.socket.fileno(), stream.hear)
        with trio.move_on_after(self.patience) as late:
            await begun.wait()
        self.cluster.ears.forget(stream.socket.fileno())
        if late.cancelled_caught:
            stream.socket.close()
            raise BenchError(f"{agent.name} sent no snapshot of its events within {self.patience:g} s")
        self.cluster.ears.follow(stream.socket.fileno(), witness.hear)
        return stream

    async def _tell(self, told: Agent, other: Agent, bodies: list[Any], beside: str) -> tuple[float, float, float]:
        """The moments of the first byte, of the last answer, and of the one beside them."""
        half = trio.Event()
        moments: dict[str, float] = {}
        begun: list[float] = []
        answered = [0] * self.connections

        async def alone() -> None:
            await half.wait()  # on a small machine that may take longer than an agent keeps an idle connection
            async with http_client.connect(other.asked) as client:
                moments["beside"] = time.perf_counter()
                await client.ask("PUT", "/api/v1/instances", body(attrs.evolve(offer(0), id=beside, service="beside")))

        async def share(connection: int, client: HttpClient) -> None:
            def on_answer(count: int) -> None:
                answered[connection] = count
                if sum(answered) >= len(bodies) / 2:
                    half.set()

            begun.append(
                await client.ask_all("PUT", "/api/v1/instances", bodies[connection :: self.connections], on_answer)
            )
            moments["answered"] = time.perf_counter()

        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(http_client.connect(told.asked)) for _ in answered]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(alone)
                for connection, client in enumerate(clients):
                    nursery.start_soon(share, connection, client)
        return min(begun), moments["answered"], moments["beside"]

    async def _check(self, number: int, wanted: set[str]) -> None:
        """Do not trust the news alone: lookups of every agent must give all."""
        for agent in self.cluster.agents:
            found: set[str] = set()
            async with http_client.connect(agent.asked) as client:
                for service in range(min(100, self.size)):
                    answer = await client.ask("GET", f"/api/v1/services/burst-{number}-{service}")
                    found |= {instance["id"] for instance in answer["instances"]}
            if found != wanted:
                raise BenchError(f"{agent.name} showed all of a burst, but answers with {len(found)} of {len(wanted)}")
