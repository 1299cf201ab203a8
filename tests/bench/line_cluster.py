"""A cluster of programs driven and observed by lines: members of memberlist, clients of registries, own nodes."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.bench import sightings
from tests.bench.cluster import Agent, Cluster, View
from tests.bench.processes import BenchError, Process

#: How long a program may take to answer (seconds): a burst of registrations is answered when it has ended.
_PATIENCE = 300.0

#: Between two looks at whether a program that owes an answer still runs (seconds).
_LOOK_EVERY = 1.0

_WHAT = {b"offered": sightings.OFFERED, b"gone": sightings.GONE, b"failed": sightings.FAILED}

#: Gives the command line of a program from its name, and from the address of a member to join.
Command = Callable[[str, str | None], Sequence[str]]


@attrs.frozen
class LineSession:
    """What one program is told, and what it answers."""

    process: Process
    answers: trio.MemoryReceiveChannel[list[bytes]]

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self.process.popen.stdin is not None
        self.process.popen.stdin.write(f"{line}\n".encode())
        self.process.popen.stdin.flush()

    async def ask(self, line: str) -> list[bytes]:
        """Write a line to it, and return the words of its answer. Raises ``BenchError``."""
        self.tell(line)
        with trio.move_on_after(_PATIENCE):
            while self.process.popen.poll() is None:
                with trio.move_on_after(_LOOK_EVERY):
                    return await self.answers.receive()
        said = self.process.log.read_text(errors="replace").splitlines() or ["it said nothing"]
        raise BenchError(
            f"{self.process.name} did not answer {line!r} within {_PATIENCE:g} s, or has ended: {said[-1]}"
        )

    async def offer(self, key: str) -> str:
        """Register an instance that is called so."""
        self.tell(f"offer {key}")
        return key

    async def offers(self, key: str) -> bool:
        """Whether the program's registry has it."""
        return await self.ask(f"has {key}") == [b"true"]

    async def view(self) -> View:
        """What it sees."""
        alive, *mark = await self.ask("view")
        return View(int(alive), b" ".join(mark).decode())


@attrs.define(eq=False)
class LineCluster(Cluster):
    """Programs of one kind."""

    command: Command = attrs.field(kw_only=True)
    _ports: dict[str, int] = attrs.field(factory=dict)
    _answers: dict[str, tuple[trio.MemorySendChannel[list[bytes]], trio.MemoryReceiveChannel[list[bytes]]]] = (
        attrs.field(factory=dict)
    )

    def spawn(self, name: str, seed: Agent | None) -> Process:
        """Start a program."""
        channel = trio.open_memory_channel[list[bytes]](16)
        self._answers[name] = (channel[0], channel[1])

        def on_line(at: float, line: bytes) -> None:
            verb, *words = line.split()
            if verb in _WHAT:
                self.sightings.note(name, _WHAT[verb], words[0].decode(), at)
            elif verb == b"answer":
                channel[0].send_nowait(words)
            elif verb == b"ready":
                self._ports[name] = int(words[0])
                process.is_ready(at)

        told = self.command(name, None if seed is None else f"127.0.0.1:{seed.gossip}")
        process = self.brood.start(name, told, on_line, told=True)
        return process

    def agent(self, process: Process) -> Agent:
        """The program, with the port that it has said."""
        return Agent(process, self._ports[process.name], 0)

    @asynccontextmanager
    async def session(self, agent: Agent) -> AsyncIterator[LineSession]:
        """Talk to it."""
        yield LineSession(agent.process, self._answers[agent.name][1])

    async def follow(self, agent: Agent) -> None:
        """Nothing to do: it says what it sees from the start on."""

    def unfollow(self, agent: Agent) -> None:
        """Nothing to do: its output ends with it."""


def own_node(*options: str) -> list[str]:
    """The command line of a program with a node of gossipreg's in it."""
    return [sys.executable, str(Path(__file__).with_name("line_node.py")), *options]
