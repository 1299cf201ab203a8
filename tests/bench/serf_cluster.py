"""A cluster of Serf agents, started, changed and observed by command line, RPC and log.

Observed by its log (what `serf monitor` streams), not by its event stream: Serf holds events back for a second or more
to hand them out together, and logs a change in the moment that it becomes visible in the agent's list of members.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from tests.bench import serf_rpc, sightings
from tests.bench.cluster import Agent, Cluster, View
from tests.bench.processes import BenchError, Process, listening
from tests.bench.serf_rpc import SerfRpc

#: What an agent prints when it listens, and has joined the agent that it was told to join.
_READY = b"Log data will now stream in"

_NEWS = re.compile(rb"\[INFO\] serf: (EventMemberUpdate|EventMemberFailed): (\S+)")
_WHAT = {
    b"EventMemberUpdate": (sightings.OFFERED,),
    b"EventMemberFailed": (sightings.FAILED, sightings.GONE),
}


def absent() -> str | None:
    """Why Serf cannot take part here; None if it can."""
    if shutil.which("serf") is None:
        return 'Serf is not on this machine: "apt-get install serf" brings it in'
    return None


def version() -> str:
    """The version of the Debian package, else what the program says of itself."""
    if shutil.which("dpkg-query"):
        asked = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Version}", "serf"], capture_output=True, text=True, check=False
        )
        if asked.returncode == 0:
            return f"{asked.stdout.partition('~')[0]} (Debian {asked.stdout})"
    return subprocess.run(["serf", "version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


@attrs.frozen
class SerfSession:
    """The RPC of one agent."""

    name: str
    rpc: SerfRpc

    async def offer(self, key: str) -> str:
        """Set a tag whose value is the key. The news names the member."""
        await self.rpc.set_tags({"bench": key})
        return self.name

    async def offers(self, key: str) -> bool:
        """Whether a member that is alive has the tag."""
        members = await self.rpc.members()
        return any(member["Tags"].get("bench") == key for member in members if member["Status"] == "alive")

    async def view(self) -> View:
        """The members that are alive: how many, and their names."""
        alive = sorted(member["Name"] for member in await self.rpc.members() if member["Status"] == "alive")
        return View(len(alive), " ".join(alive))


@attrs.define(eq=False)
class SerfCluster(Cluster):
    """Agents as `serf agent` starts them: LAN profile, in clear."""

    def spawn(self, name: str, seed: Agent | None) -> Process:
        """Start an agent on free ports."""
        command = ["serf", "agent", "-node", name, "-bind", "127.0.0.1:0", "-rpc-addr", "127.0.0.1:0"]
        if seed is not None:
            command += ["-join", f"127.0.0.1:{seed.gossip}"]

        def on_line(at: float, line: bytes) -> None:
            if found := _NEWS.search(line):
                for what in _WHAT[found[1]]:
                    self.sightings.note(name, what, found[2].decode(), at)
            elif _READY in line:
                process.is_ready(at)

        process = self.brood.start(name, command, on_line)
        return process

    def agent(self, process: Process) -> Agent:
        """The agent: it gossips where it listens on UDP and TCP, and is asked where it listens on TCP only."""
        ports = listening(process.pid)
        gossip, asked = ports.tcp & ports.udp, ports.tcp - ports.udp
        if len(gossip) != 1 or len(asked) != 1:
            raise BenchError(f"cannot tell which port is which of Serf's {process.name}: {ports}")
        return Agent(process, *gossip, *asked)

    @asynccontextmanager
    async def session(self, agent: Agent) -> AsyncIterator[SerfSession]:
        """Connect to its RPC."""
        async with serf_rpc.connect(agent.asked) as rpc:
            yield SerfSession(agent.name, rpc)

    async def follow(self, agent: Agent) -> None:
        """Nothing to do: the log is heard from the start on."""

    def unfollow(self, agent: Agent) -> None:
        """Nothing to do: the log ends with the process."""
