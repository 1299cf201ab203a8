"""How soon the last of many clients of one agent has a registration: `python -m tests.bench.watchers`.

Two kinds of clients, both over HTTP and all held by one process with one epoll, which costs next to nothing: watchers
hold a stream of server-sent events, readers a blocking read of the service that changes (`?index=...&wait=5m`). In each
round an instance is registered over one more connection; the time runs from the sending of that request to the moment
in which each client's socket has the event or the answer. That moment is taken when epoll says so, before anything is
read. Readers are asked to wait again after each round, and the next begins when the agent has nothing left to do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
import click
import trio

from tests.bench import http_client
from tests.bench.ears import Ears
from tests.bench.figures import Figure
from tests.bench.measuring import measured, open_as_many_files_as_allowed
from tests.bench.processes import BenchError, Brood, Process, cpu_seconds
from tests.bench.tables import machine, markdown, verdict

#: What is promised: so many of a kind have a registration within so long (ms), the other kind being there or not.
TARGET_CLIENTS: Final = 1000
TARGETS_MS: Final = {"watchers": 250.0, "readers": 500.0}

_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 65_536
_PATIENCE: Final = 30.0  # seconds, for all to hear something
_QUIET: Final = 0.1  # seconds in which an agent that has nothing to do uses next to no CPU
_INDEX: Final = re.compile(rb'"index":(\d+)')


@attrs.define(eq=False)
class LargeCluster:
    """Watchers and readers of one agent, by file descriptor."""

    port: int
    watchers: dict[int, socket.socket] = attrs.field(factory=dict)
    readers: dict[int, socket.socket] = attrs.field(factory=dict)
    _epoll: select.epoll = attrs.field(factory=select.epoll)
    _index: int = 0  # the one that readers know

    def watch(self, count: int) -> None:
        """Open streams until there are ``count``, each with its snapshot read. Raises ``BenchError`` if one is not."""
        while len(self.watchers) < count:
            stream = self._connect()
            stream.sendall(self._get("/api/v1/events"))
            begun = b""
            while b"event: snapshot" not in begun or not begun.endswith(b"\n\n\r\n"):
                said = stream.recv(_READ_BYTES)
                begun += said
                if not said or b"503 Service" in begun:
                    raise BenchError(f"watcher {len(self.watchers) + 1} was not let in: {begun[-200:]!r}")
            self.watchers[stream.fileno()] = stream
            self._epoll.register(stream.fileno(), select.EPOLLIN)

    def read(self, count: int) -> None:
        """Open connections for readers until there are ``count``."""
        while len(self.readers) < count:
            stream = self._connect()
            stream.sendall(self._get("/api/v1/services/changing"))
            self._index = max(self._index, _index_in(stream.recv(_READ_BYTES)))
            self.readers[stream.fileno()] = stream
            self._epoll.register(stream.fileno(), select.EPOLLIN)

    def wait(self) -> None:
        """Have all readers wait for a change."""
        ask = self._get(f"/api/v1/services/changing?index={self._index}&wait=5m")
        for stream in self.readers.values():
            stream.sendall(ask)

    def hear(self, word: bytes) -> dict[str, list[float]]:
        """When each had ``word`` (``time.perf_counter``). Raises ``BenchError`` if one has it not in time."""
        rests = dict.fromkeys([*self.watchers, *self.readers], b"")
        heard: dict[str, list[float]] = {"watchers": [], "readers": []}
        patience = time.perf_counter() + _PATIENCE
        while rests:
            ready = self._epoll.poll(1.0, len(rests))
            at = time.perf_counter()
            if at > patience:
                raise BenchError(f"{len(rests)} of {len(self.watchers) + len(self.readers)} heard nothing")
            for fd, _ in ready:
                said = os.read(fd, _READ_BYTES)
                if not said:
                    raise BenchError("the agent broke off")
                if fd not in rests:
                    continue
                rests[fd] += said
                if word in rests[fd]:
                    heard["readers" if fd in self.readers else "watchers"].append(at)
                    if fd in self.readers:
                        self._index = _index_in(rests[fd])
                    del rests[fd]
        return heard

    def close(self) -> None:
        """Close all."""
        for stream in [*self.watchers.values(), *self.readers.values()]:
            stream.close()
        self._epoll.close()

    def _get(self, target: str) -> bytes:
        return f"GET {target} HTTP/1.1\r\nHost: {_HOST}:{self.port}\r\n\r\n".encode()

    def _connect(self) -> socket.socket:
        stream = socket.create_connection((_HOST, self.port))
        stream.settimeout(_PATIENCE)
        return stream


def _index_in(said: bytes) -> int:
    """The index of a lookup's answer. Raises ``BenchError`` for what is none."""
    found = _INDEX.search(said)
    if found is None or not said.endswith(b"}"):
        raise BenchError(f"a reader was not answered: {said[-200:]!r}")
    return int(found[1])


@attrs.frozen
class Heard:
    """What came of one round for one kind: from the registration to the first, the middle and the last, in ms."""

    first: float
    middle: float
    last: float
    cpu: float  # what the agent used until all had heard

    @classmethod
    def of(cls, begun: float, heard: Sequence[float], cpu: float) -> Heard:
        """From moments in seconds."""
        first, middle, last = (1000 * (at - begun) for at in (min(heard), statistics.median(heard), max(heard)))
        return cls(first, middle, last, 1000 * cpu)


#: What came of all rounds: by how many watchers and readers there were, for each kind.
RouteMatch = dict[tuple[int, int], dict[str, list[Heard]]]


def register(connection: socket.socket, port: int, name: str, tags: Sequence[str] = ()) -> None:
    """Have the one instance be different; the answer is left for `answered`."""
    wanted = {"id": "changing", "service": "changing", "port": 8080, "meta": {"round": name}, "tags": list(tags)}
    body = json.dumps(wanted)
    head = f"PUT /api/v1/instances HTTP/1.1\r\nHost: {_HOST}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(f"{head}{body}".encode())


def answered(connection: socket.socket) -> None:
    """Read the answer, which is small."""
    said = connection.recv(_READ_BYTES)
    if not said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
        raise BenchError(f"the agent did not register an instance: {said[:200]!r}")


def settle(agent: Process) -> None:
    """Return when the agent has nothing left to do."""
    before = cpu_seconds(agent.pid)
    patience = time.perf_counter() + _PATIENCE
    while time.perf_counter() < patience:
        time.sleep(_QUIET)
        now = cpu_seconds(agent.pid)
        if now - before <= _QUIET / 5:
            return
        before = now
    raise BenchError("the agent does not come to rest")


def one_round(cluster: LargeCluster, connection: socket.socket, agent: Process, name: str) -> dict[str, Heard]:
    """Have the readers wait, register, and hear all."""
    cluster.wait()
    settle(agent)
    cpu = cpu_seconds(agent.pid)
    begun = time.perf_counter()
    register(connection, cluster.port, name)
    heard = cluster.hear(f'"{name}"'.encode())
    cpu = cpu_seconds(agent.pid) - cpu
    answered(connection)
    return {kind: Heard.of(begun, moments, cpu) for kind, moments in heard.items() if moments}


def take_turns(agent: Process, port: int, counts: Sequence[tuple[int, int]], rounds: int) -> RouteMatch:
    """All rounds, for each number of watchers and readers."""
    found: RouteMatch = {}
    with socket.create_connection((_HOST, port)) as connection:
        for count in counts:
            cluster = LargeCluster(port)
            try:
                cluster.watch(count[0])
                cluster.read(count[1])
                one_round(cluster, connection, agent, f"warm-{count}")
                found[count] = {"watchers": [], "readers": []}
                for number in range(rounds):
                    for kind, heard in one_round(cluster, connection, agent, f"round-{count}-{number}").items():
                        found[count][kind].append(heard)
            finally:
                cluster.close()
            settle(agent)
    return found


def table(found: RouteMatch) -> str:
    """The figures as they stand in the documentation."""
    rows = [["clients", "first, ms", "half of them, ms", "last, ms", "agent's CPU, ms", "target", ""]]
    for (watchers, readers), kinds in found.items():
        for kind, rounds in kinds.items():
            if not rounds:
                continue
            figures = [
                Figure.of([getattr(each, what) for each in rounds]) for what in ("first", "middle", "last", "cpu")
            ]
            count, others = (watchers, readers) if kind == "watchers" else (readers, watchers)
            beside = f" beside {others:,} {'readers' if kind == 'watchers' else 'watchers'}" if others else ""
            limit = TARGETS_MS[kind]
            held = count == TARGET_CLIENTS and not others
            target = [f"≤ {limit:g} ms", verdict(figures[2].middle <= limit)] if held else ["", ""]
            rows.append([f"{count:,} {kind}{beside}", *map(str, figures), *target])
    return markdown(rows)


async def measure(counts: Sequence[tuple[int, int]], rounds: int) -> RouteMatch:
    """Start an agent, watch it, and register."""
    ears = Ears()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        with Brood(ears) as brood:
            agent, port = await start_agent(brood)
            found = await trio.to_thread.run_sync(take_turns, agent, port, counts, rounds)
        nursery.cancel_scope.cancel()
    return found


async def start_agent(brood: Brood) -> tuple[Process, int]:
    """An agent with one instance, and the port of its HTTP listener."""
    command = [sys.executable, "-m", "gossipreg", "agent", "--name", "watched", "--bind", f"{_HOST}:0"]
    command += ["--http", f"{_HOST}:0", "--dns", "off", "--log-format", "json"]
    ports: list[int] = []

    def on_line(at: float, line: bytes) -> None:
        ports.append(int(json.loads(line)["http"].rpartition(":")[2]))
        agent.is_ready(at)

    agent = brood.start("watched", command, on_line)
    await agent.wait_ready()
    async with http_client.connect(ports[0]) as client:  # the first registration imports what the others use
        await client.ask("PUT", "/api/v1/instances", {"id": "changing", "service": "changing", "port": 8080})
    return agent, ports[0]


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = "1+0,100+0,1000+0,0+1,0+100,0+1000,1000+1000"
    parser.add_argument("--clients", default=usual, help=f"watchers+readers, and so on ({usual})")
    parser.add_argument("--rounds", type=int, default=15, help="registrations for each number of clients (15)")
    options = parser.parse_args()
    counts = [
        (int(first), int(second)) for first, _, second in (each.partition("+") for each in options.clients.split(","))
    ]
    open_as_many_files_as_allowed()
    load = os.getloadavg()[0]
    found = measured("watchers", partial(measure, counts, options.rounds))
    if not found:
        return 1
    click.echo(
        f"`python -m tests.bench.watchers`: from the sending of a registration to the event or the answer at so many "
        f"clients of one agent, median (lowest to highest) of {options.rounds} rounds; {machine(load)}."
        f"\n\n{table(found)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
