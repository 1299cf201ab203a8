"""How soon the last of many blocked Consul queries at one agent is answered: `python -m tests.bench.consul_watchers`.

All queries are held by one process with one epoll, which costs next to nothing. Some block on the service that changes,
with its index; the others, beside them, on services of their own, and must not be woken. In each round the service is
registered anew over one more connection; the time runs from the sending of that request to the moment in which each
query's socket has its answer, taken when epoll says so, before anything is read. Then all that were answered ask again,
and the next round begins when the agent has nothing left to do.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

import attrs
import click
import trio

from tests.bench.ears import Ears
from tests.bench.figures import Figure
from tests.bench.measuring import measured, open_as_many_files_as_allowed
from tests.bench.processes import BenchError, Brood, Process, cpu_seconds
from tests.bench.tables import machine, markdown, verdict
from tests.bench.watchers import Heard, answered, register, settle, start_agent

#: What is promised: so many blocked queries are answered within so long (ms).
TARGET_QUERIES: Final = 1000
TARGET_MS: Final = 500.0

_HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 65_536
_PATIENCE: Final = 30.0  # seconds, for all to be answered
_INDEX: Final = re.compile(rb"x-consul-index: (\d+)\r\n")

#: Blocks on the service that the benchmark changes, or on everything.
PATHS: Final = {"service": "/v1/health/service/changing?passing", "state": "/v1/health/state/any?dc=default"}


@attrs.define(eq=False)
class Queries:
    """Blocked queries of one agent, by file descriptor, each with its path and the index that it knows."""

    port: int
    paths: dict[int, str] = attrs.field(factory=dict)
    indexes: dict[int, int] = attrs.field(factory=dict)
    _sockets: dict[int, socket.socket] = attrs.field(factory=dict)
    _epoll: select.epoll = attrs.field(factory=select.epoll)

    def open(self, path: str, count: int) -> None:
        """Open ``count`` connections and ask for ``path`` at each, for the index."""
        for _ in range(count):
            stream = socket.create_connection((_HOST, self.port))
            stream.settimeout(_PATIENCE)
            fd = stream.fileno()
            self._sockets[fd], self.paths[fd] = stream, path
            stream.sendall(self._get(path))
            self.indexes[fd] = _index_in(stream.recv(_READ_BYTES))
            self._epoll.register(fd, select.EPOLLIN)

    def block(self, fds: Sequence[int]) -> None:
        """Have these wait for a change."""
        for fd in fds:
            self._sockets[fd].sendall(self._get(f"{self.paths[fd]}&index={self.indexes[fd]}&wait=5m"))

    def hear(self, word: bytes, path: str) -> dict[int, float]:
        """When each that blocks on ``path`` had ``word`` (``time.perf_counter``).

        Raises ``BenchError`` if one has it not in time, and if any other is answered at all.
        """
        rests = {fd: b"" for fd, its in self.paths.items() if its == path}
        heard: dict[int, float] = {}
        patience = time.perf_counter() + _PATIENCE
        while len(heard) < len(rests):
            ready = self._epoll.poll(1.0, len(rests))
            at = time.perf_counter()
            if at > patience:
                raise BenchError(f"{len(rests) - len(heard)} of {len(rests)} queries were not answered")
            for fd, _ in ready:
                if fd not in rests:
                    raise BenchError("a query was woken by what it does not ask about")
                rests[fd] += os.read(fd, _READ_BYTES)
                if word in rests[fd] and rests[fd].endswith(b"]"):
                    heard[fd], self.indexes[fd] = at, _index_in(rests[fd])
        return heard

    def close(self) -> None:
        """Close all."""
        for stream in self._sockets.values():
            stream.close()
        self._epoll.close()

    def _get(self, target: str) -> bytes:
        return f"GET {target} HTTP/1.1\r\nHost: {_HOST}:{self.port}\r\n\r\n".encode()


def _index_in(said: bytes) -> int:
    """The index of an answer. Raises ``BenchError`` for what is none."""
    found = _INDEX.search(said)
    if found is None or not said.startswith(b"HTTP/1.1 200"):
        raise BenchError(f"a query was not answered: {said[:200]!r}")
    return int(found[1])


#: What came of all rounds: by what was asked, how many asked it, and how many asked about something else.
Found = dict[tuple[str, int, int], list[Heard]]


def take_turns(agent: Process, port: int, counts: Sequence[tuple[str, int, int]], rounds: int) -> Found:
    """All rounds, for each number of queries."""
    found: Found = {}
    with socket.create_connection((_HOST, port)) as connection:
        for kind, count, others in counts:
            queries = Queries(port)
            try:
                queries.open(PATHS[kind], count)
                for number in range(others):
                    queries.open(f"/v1/health/service/other-{number}?passing", 1)
                queries.block(list(queries.paths))
                one_round(queries, kind, connection, agent, "warm")
                found[kind, count, others] = [
                    one_round(queries, kind, connection, agent, f"round-{number}") for number in range(rounds)
                ]
            finally:
                queries.close()
            settle(agent)
    return found


def one_round(queries: Queries, kind: str, connection: socket.socket, agent: Process, name: str) -> Heard:
    """Register, read the answers of all blocked queries, and send the queries again."""
    settle(agent)
    cpu = cpu_seconds(agent.pid)
    begun = time.perf_counter()
    register(connection, queries.port, name, tags=[name])
    heard = queries.hear(f'"{name}"'.encode(), PATHS[kind])
    cpu = cpu_seconds(agent.pid) - cpu
    answered(connection)
    queries.block(list(heard))
    return Heard.of(begun, list(heard.values()), cpu)


def table(found: Found) -> str:
    """The figures as they stand in the documentation."""
    rows = [["blocked queries", "first, ms", "half of them, ms", "last, ms", "agent's CPU, ms", "target", ""]]
    for (kind, count, others), rounds in found.items():
        figures = [Figure.of([getattr(each, what) for each in rounds]) for what in ("first", "middle", "last", "cpu")]
        asked = {"service": "`health/service`", "state": "`health/state/any`"}[kind]
        beside = f" beside {others:,} on other services" if others else ""
        target = (
            [f"≤ {TARGET_MS:g} ms", verdict(figures[2].middle <= TARGET_MS)] if count == TARGET_QUERIES else ["", ""]
        )
        rows.append([f"{count:,} on {asked}{beside}", *map(str, figures), *target])
    return markdown(rows)


async def measure(counts: Sequence[tuple[str, int, int]], rounds: int) -> Found:
    """Start an agent, block, and register."""
    ears = Ears()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ears.listen)
        with Brood(ears) as brood:
            agent, port = await start_agent(brood)
            found = await trio.to_thread.run_sync(take_turns, agent, port, counts, rounds)
        nursery.cancel_scope.cancel()
    return found


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = "service:1+0,service:100+0,service:1000+0,service:1000+1000,state:1000+0"
    parser.add_argument("--queries", default=usual, help=f"what, how many, and how many on other services ({usual})")
    parser.add_argument("--rounds", type=int, default=15, help="registrations for each number of queries (15)")
    options = parser.parse_args()
    counts = []
    for each in options.queries.split(","):
        kind, _, numbers = each.partition(":")
        count, _, others = numbers.partition("+")
        counts.append((kind, int(count), int(others)))
    open_as_many_files_as_allowed()
    load = os.getloadavg()[0]
    found = measured("consul_watchers", partial(measure, counts, options.rounds))
    if not found:
        return 1
    click.echo(
        f"`python -m tests.bench.consul_watchers`: from the sending of a registration to the answer of so many blocked "
        f"queries at one agent, median (lowest to highest) of {options.rounds} rounds; {machine(load)}.\n\n"
        f"{table(found)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
