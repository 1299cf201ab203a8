"""A cluster of gossipreg agents, started, changed and observed by command line, HTTP API and events."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from tests.bench import http_client, sightings
from tests.bench.cluster import Agent, Cluster, View
from tests.bench.http_client import EventStream, HttpClient
from tests.bench.processes import BenchError, Process

_SERVICE = "bench"

#: How long an event stream may take to begin (seconds).
_SNAPSHOT_PATIENCE = 30.0

_WHAT = {
    "instance-added": sightings.OFFERED,
    "instance-changed": sightings.OFFERED,
    "instance-removed": sightings.GONE,
    "member-failed": sightings.FAILED,
}


@attrs.frozen
class GossipregSession:
    """The HTTP API of one agent."""

    client: HttpClient

    async def offer(self, key: str) -> str:
        """Register an instance, whose id is the key."""
        await self.client.ask("PUT", "/api/v1/instances", {"id": key, "service": _SERVICE, "port": 8080})
        return key

    async def offers(self, key: str) -> bool:
        """Whether a lookup gives it."""
        found = await self.client.ask("GET", f"/api/v1/services/{_SERVICE}")
        return any(instance["id"] == key for instance in found["instances"])

    async def view(self) -> View:
        """The members that are alive; the fingerprint is over all that the cluster agrees on."""
        node = await self.client.ask("GET", "/api/v1/node")
        return View(node["members"]["alive"], node["fingerprint"])


@attrs.define(eq=False)
class GossipregCluster(Cluster):
    """Agents as `gossipreg agent` starts them, sealed if there is a key."""

    key_file: Path | None = None
    _ready: dict[str, Any] = attrs.field(factory=dict)
    _streams: dict[str, EventStream] = attrs.field(factory=dict)

    def spawn(self, name: str, seed: Agent | None) -> Process:
        """Start an agent on free ports."""
        command = [sys.executable, "-m", "gossipreg", "agent", "--name", name, "--cluster", "bench"]
        command += ["--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dns", "off", "--log-format", "json"]
        if seed is not None:
            command += ["--join", f"127.0.0.1:{seed.gossip}"]
        if self.key_file is not None:
            command += ["--key-file", str(self.key_file)]

        def on_line(at: float, line: bytes) -> None:
            self._ready[name] = json.loads(line)
            process.is_ready(at)

        process = self.brood.start(name, command, on_line)
        return process

    def agent(self, process: Process) -> Agent:
        """The agent, with the ports that its ready line tells."""
        ready = self._ready[process.name]
        return Agent(process, _port(ready["gossip"]), _port(ready["http"]))

    @asynccontextmanager
    async def session(self, agent: Agent) -> AsyncIterator[GossipregSession]:
        """Connect to its HTTP API."""
        async with http_client.connect(agent.asked) as client:
            yield GossipregSession(client)

    async def follow(self, agent: Agent) -> None:
        """Follow its events, from the snapshot on."""
        begun = trio.Event()

        def on_event(at: float, name: str, data: Any) -> None:
            if name == "snapshot":
                begun.set()
            elif name in _WHAT:
                self.sightings.note(agent.name, _WHAT[name], data.get("id") or data["name"], at)

        stream = EventStream.open(agent.asked, on_event)
        self._streams[agent.name] = stream
        self.ears.follow(stream.socket.fileno(), stream.hear)
        with trio.move_on_after(_SNAPSHOT_PATIENCE) as patience:
            await begun.wait()
        if patience.cancelled_caught:
            raise BenchError(f"{agent.name} sent no snapshot of its events within {_SNAPSHOT_PATIENCE:g} s")

    def unfollow(self, agent: Agent) -> None:
        """Close its stream of events, if there is one."""
        if stream := self._streams.pop(agent.name, None):
            self.ears.forget(stream.socket.fileno())
            stream.socket.close()


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])
