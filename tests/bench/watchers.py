"""How soon the last of many watchers of one agent has a registration: `python -m tests.bench.watchers`.

All watchers are server-sent event streams over HTTP from one agent, held by one process with one epoll: a client that
costs next to nothing. In each round an instance is registered over one more connection; the time runs from the sending
of that request to the moment in which each watcher's socket has the event. That moment is taken when epoll says so,
before anything is read.

An agent lets in only so many event streams (docs/http-api.md). Where more are asked for than that, its limit is raised
for the benchmark, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

import attrs
import click
import trio

from gossipreg.doors.http import limits
from tests.bench import http_client
from tests.bench.ears import Ears
from tests.bench.figures import Figure
from tests.bench.processes import BenchError, Brood, Process, cpu_seconds
from tests.bench.tables import machine, markdown, verdict

#: What is promised: so many watchers have a registration within so long (ms).
TARGET_WATCHERS: Final = 1000
TARGET_MS: Final = 250.0

_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 65_536
_PATIENCE: Final = 30.0  # seconds, for all to hear something

#: Starts an agent whose door lets in as many event streams as its first argument says, if that is more than usual.
_LAUNCH: Final = """\
import sys
from gossipreg.doors.http import limits
streams = int(sys.argv.pop(1))
limits.EVENT_STREAMS_MAX = max(limits.EVENT_STREAMS_MAX, streams)
limits.CONNECTIONS_MAX = max(limits.CONNECTIONS_MAX, streams + 64)
from gossipreg.cli import main
sys.exit(main())
"""


@attrs.define(eq=False)
class Watchers:
    """Event streams of one agent, by file descriptor."""

    port: int
    _epoll: select.epoll = attrs.field(factory=select.epoll)
    _streams: dict[int, socket.socket] = attrs.field(factory=dict)

    def grow(self, count: int) -> None:
        """Open streams until there are ``count``, each with its snapshot read. Raises ``BenchError`` if one is not."""
        ask = f"GET /api/v1/events HTTP/1.1\r\nHost: {_HOST}:{self.port}\r\n\r\n".encode()
        while len(self._streams) < count:
            stream = socket.create_connection((_HOST, self.port))
            stream.settimeout(_PATIENCE)
            stream.sendall(ask)
            begun = b""
            while b"event: snapshot" not in begun or not begun.endswith(b"\n\n\r\n"):
                said = stream.recv(_READ_BYTES)
                begun += said
                if not said or b"503 Service" in begun:
                    raise BenchError(f"watcher {len(self._streams) + 1} was not let in: {begun[-200:]!r}")
            self._streams[stream.fileno()] = stream
            self._epoll.register(stream.fileno(), select.EPOLLIN)

    def hear(self, word: bytes) -> list[float]:
        """When each had ``word`` (``time.perf_counter``). Raises ``BenchError`` if one has it not in time."""
        rests = dict.fromkeys(self._streams, b"")
        heard: list[float] = []
        patience = time.perf_counter() + _PATIENCE
        while rests:
            ready = self._epoll.poll(1.0, len(self._streams))
            at = time.perf_counter()
            if at > patience:
                raise BenchError(f"{len(rests)} of {len(self._streams)} watchers did not hear of a registration")
            for fd, _ in ready:
                said = os.read(fd, _READ_BYTES)
                if not said:
                    raise BenchError("the agent ended the stream of a watcher")
                if fd in rests and word in (said_all := rests[fd] + said):
                    heard.append(at)
                    del rests[fd]
                elif fd in rests:
                    rests[fd] = said_all[-len(word) :]
        return heard

    def close(self) -> None:
        """Close all."""
        for stream in self._streams.values():
            stream.close()
        self._epoll.close()


@attrs.frozen
class Heard:
    """What came of one round: from the registration to the first, the middle and the last watcher, in ms."""

    first: float
    middle: float
    last: float
    cpu: float  # what the agent used until then

    @classmethod
    def of(cls, begun: float, heard: Sequence[float], cpu: float) -> Heard:
        """From moments in seconds."""
        first, middle, last = (1000 * (at - begun) for at in (min(heard), statistics.median(heard), max(heard)))
        return cls(first, middle, last, 1000 * cpu)


def register(connection: socket.socket, port: int, name: str) -> None:
    """Ask for an instance of that id; the answer is left for `answered`."""
    body = json.dumps({"id": name, "service": name, "port": 8080})
    head = f"PUT /api/v1/instances HTTP/1.1\r\nHost: {_HOST}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(f"{head}{body}".encode())


def answered(connection: socket.socket) -> None:
    """Read the answer, which is small."""
    said = connection.recv(_READ_BYTES)
    if not said.startswith(b"HTTP/1.1 201"):
        raise BenchError(f"the agent did not register an instance: {said[:200]!r}")


def one_round(watchers: Watchers, connection: socket.socket, agent: Process, name: str) -> Heard:
    """Register an instance and hear all watchers."""
    cpu = cpu_seconds(agent.pid)
    begun = time.perf_counter()
    register(connection, watchers.port, name)
    heard = watchers.hear(f'"{name}"'.encode())
    cpu = cpu_seconds(agent.pid) - cpu
    answered(connection)
    return Heard.of(begun, heard, cpu)


def take_turns(agent: Process, port: int, counts: Sequence[int], rounds: int) -> dict[int, list[Heard]]:
    """All rounds, for each number of watchers."""
    watchers = Watchers(port)
    found: dict[int, list[Heard]] = {}
    try:
        with socket.create_connection((_HOST, port)) as connection:
            for count in counts:
                watchers.grow(count)
                one_round(watchers, connection, agent, f"warm-{count}")
                found[count] = [
                    one_round(watchers, connection, agent, f"round-{count}-{number}") for number in range(rounds)
                ]
    finally:
        watchers.close()
    return found


def table(found: dict[int, list[Heard]]) -> str:
    """The figures as they stand in the documentation."""
    rows = [["watchers", "first, ms", "half of them, ms", "last, ms", "agent's CPU, ms", "target", ""]]
    for count, rounds in found.items():
        figures = [Figure.of([getattr(heard, what) for heard in rounds]) for what in ("first", "middle", "last", "cpu")]
        held = count == TARGET_WATCHERS
        target = [f"≤ {TARGET_MS:g} ms", verdict(figures[2].middle <= TARGET_MS)] if held else ["", ""]
        rows.append([f"{count:,}", *map(str, figures), *target])
    return markdown(rows)


async def measure(counts: Sequence[int], rounds: int) -> dict[int, list[Heard]]:
    """Start an agent, watch it, and register."""
    ears = Ears()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        with Brood(ears) as brood:
            agent, port = await _start(brood, max(counts))
            found = await trio.to_thread.run_sync(take_turns, agent, port, counts, rounds)
        nursery.cancel_scope.cancel()
    return found


async def _start(brood: Brood, streams: int) -> tuple[Process, int]:
    command = [sys.executable, "-c", _LAUNCH, str(streams), "agent", "--name", "watched", "--bind", f"{_HOST}:0"]
    command += ["--http", f"{_HOST}:0", "--dns", "off", "--log-format", "json"]
    ports: list[int] = []

    def on_line(at: float, line: bytes) -> None:
        ports.append(int(json.loads(line)["http"].rpartition(":")[2]))
        agent.is_ready(at)

    agent = brood.start("watched", command, on_line)
    await agent.wait_ready()
    async with http_client.connect(ports[0]) as client:  # the first registration imports what the others use
        await client.ask("PUT", "/api/v1/instances", {"id": "first", "service": "watched", "port": 8080})
    return agent, ports[0]


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", default="1,100,250,1000", help="how many, one row each (1,100,250,1000)")
    parser.add_argument("--rounds", type=int, default=15, help="registrations for each number of watchers (15)")
    options = parser.parse_args()
    counts = sorted({int(count) for count in options.watchers.split(",")})
    load = os.getloadavg()[0]
    found: dict[int, list[Heard]] = {}
    try:
        found = trio.run(measure, counts, options.rounds)
    except* BenchError as failed:
        click.echo(f"watchers: {failed.exceptions[0]}", err=True)
    if not found:
        return 1
    click.echo(
        f"`python -m tests.bench.watchers`: from the sending of a registration to the event at so many streams of one "
        f"agent, median (lowest to highest) of {options.rounds} rounds; {machine(load)}.\n\n{table(found)}"
    )
    if counts[-1] > limits.EVENT_STREAMS_MAX:
        click.echo(f"\n- above {limits.EVENT_STREAMS_MAX} event streams with the agent's limit raised for the run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
