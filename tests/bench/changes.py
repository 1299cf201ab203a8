"""What a stream of changes costs each node, and what a node costs at rest: `python -m tests.bench.changes`.

Each node is a process of its own that follows all events. At first nothing changes; then instances change at a steady
rate, each at another node in turn (or all at the first, with ``--through 1``); then there may be a burst. For each part
the nodes tell their CPU time, the packets that they sent, and how often their process went to sleep: it is woken as
often (`voluntary_ctxt_switches`, proc(5)).

With ``--kinds`` each node also reads what it sends, and the messages are counted by kind; that costs CPU itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs
import click
import trio

from gossipreg import Config, open_node
from gossipreg.protocol.wire.field_readers import Junk
from gossipreg.protocol.wire.reader import unpack
from gossipreg.runtime.node import Node
from tests.bench.processes import BenchError
from tests.bench.tables import machine, markdown, verdict

#: Instances that change, one after the other.
_INSTANCES: Final = 200

#: The share of a core that 100 changes a second may take on each node.
_TARGET_SHARE: Final = 0.04

#: Packets that a node may send in a burst of 1,000.
_TARGET_PACKETS: Final = 300

_PATIENCE: Final = 120.0  # seconds


# One node: what the process of a node does


@attrs.define(eq=False)
class Turns(trio.abc.Instrument):
    """How often the loop of trio has waited for input or a deadline."""

    count: int = 0

    def before_io_wait(self, timeout: float) -> None:
        """Called by trio."""
        self.count += timeout > 0


def _sleeps() -> int:
    """How often this process has gone to sleep."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "voluntary_ctxt_switches":
            return int(value)
    raise BenchError("the kernel does not count context switches")


def _count_kinds(node: Node, kinds: Counter[str]) -> None:
    """Count the messages of each packet that the node sends from now on."""
    outbox = node._engine.outbox
    original = type(outbox).send

    def send(self: Any, to: Any, *parts: bytes, **how: Any) -> None:
        data = bytes(8) + b"".join(parts)
        try:
            names = sorted(type(message).__name__ for message in unpack(data)[1])
        except Junk:
            names = ["unreadable"]
        counts = Counter(names)
        kinds["packet: " + " ".join(name if n == 1 else f"{name}s" for name, n in sorted(counts.items()))] += 1
        for name, count in counts.items():
            kinds[name] += count
        original(self, to, *parts, **how)

    type(outbox).send = send  # type: ignore[method-assign]  # to count is all that it adds


async def _lines() -> AsyncIterator[str]:
    stdin = trio.lowlevel.FdStream(os.dup(0))
    rest = b""
    async for data in stdin:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line.decode()


async def _be_node(name: str, join: list[str], *, with_kinds: bool) -> None:
    """Open a node, and do what the lines on standard input say."""
    turns, kinds, seen = Turns(), Counter[str](), Counter[str]()
    async with (
        open_node(Config(name=name, bind="127.0.0.1:0", join=join)) as node,
        trio.open_nursery() as nursery,
    ):
        if with_kinds:
            _count_kinds(node, kinds)
        trio.lowlevel.add_instrument(turns)

        async def follow() -> None:
            async for batch in node.events():
                seen["instances"] += sum(hasattr(event, "instance") for event in batch)

        nursery.start_soon(follow)
        click.echo(json.dumps({"address": str(node.info().address)}))
        async for line in _lines():
            verb, *arguments = line.split()
            if verb == "register":
                for number in arguments:
                    which, weight = map(int, number.split(":"))
                    await node.register(
                        f"service-{which % 20}", port=1024, id=f"i{which}", host="10.0.0.1", weight=weight
                    )
            elif verb == "report":
                counters = node._engine.counters
                report = {
                    "cpu": time.process_time(),
                    "sleeps": _sleeps(),
                    "turns": turns.count,
                    "seen": seen["instances"],
                    "alive": sum(str(member.status) == "alive" for member in node.members()),
                    "counters": {key: counters[key] for key in counters},
                    "kinds": dict(kinds),
                }
                click.echo(json.dumps(report))
        nursery.cancel_scope.cancel()


# All nodes


@attrs.define(eq=False)
class Process:
    """The process of one node."""

    running: subprocess.Popen[str]

    def tell(self, line: str) -> None:
        """Write a line to it."""
        assert self.running.stdin is not None
        self.running.stdin.write(f"{line}\n")
        self.running.stdin.flush()

    def answer(self) -> Any:
        """Read a line of it."""
        assert self.running.stdout is not None
        line = self.running.stdout.readline()
        if not line:
            raise BenchError("a node has ended")
        return json.loads(line)


@contextmanager
def _cluster(count: int, *, with_kinds: bool) -> Iterator[list[Process]]:
    """So many nodes that all know each other."""
    nodes: list[Process] = []
    join: list[str] = []
    try:
        for number in range(count):
            command = [sys.executable, "-m", "tests.bench.changes", "--be", f"n{number}", "--join", *join]
            command += ["--kinds"] if with_kinds else []
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            nodes.append(Process(process))
            if not join:
                join = [nodes[0].answer()["address"]]
        for node in nodes[1:]:
            node.answer()
        _until(lambda: all(report["alive"] == count for report in _reports(nodes)), "the nodes did not find each other")
        yield nodes
    finally:
        for node in nodes:
            assert node.running.stdin is not None
            node.running.stdin.close()
        for node in nodes:
            try:
                node.running.wait(timeout=20)
            except subprocess.TimeoutExpired:
                node.running.kill()


def _until(condition: Any, complaint: str) -> None:
    end = time.perf_counter() + _PATIENCE
    while not condition():
        if time.perf_counter() > end:
            raise BenchError(complaint)
        time.sleep(0.25)


def _reports(nodes: list[Process]) -> list[Any]:
    for node in nodes:
        node.tell("report")
    return [node.answer() for node in nodes]


@attrs.frozen
class Part:
    """What one part of the run cost: the difference of two reports of each node."""

    seconds: float
    before: list[Any]
    after: list[Any]

    def each(self, *path: str) -> list[float]:
        """The difference of one figure, for each node."""

        def figure(report: Any) -> float:
            for key in path:
                report = report.get(key, 0)
            return float(report)

        return [figure(after) - figure(before) for before, after in zip(self.before, self.after, strict=True)]

    def kinds(self) -> list[tuple[str, float]]:
        """The messages and packets of each kind that a node sent (mean), the most frequent first."""
        names = sorted({name for report in self.after for name in report["kinds"]})
        means = [(name, sum(self.each("kinds", name)) / len(self.after)) for name in names]
        return sorted(means, key=lambda each: -each[1])


@contextmanager
def _part(nodes: list[Process], parts: dict[str, Part], name: str) -> Iterator[None]:
    before, began = _reports(nodes), time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    parts[name] = Part(seconds, before, _reports(nodes))


def measure(nodes: int, rate: float, seconds: float, burst: int, through: int, *, with_kinds: bool) -> dict[str, Part]:
    """Each part of the run, by name."""
    parts: dict[str, Part] = {}
    with _cluster(nodes, with_kinds=with_kinds) as cluster:
        tellers = cluster[:through] if through else cluster
        for which in range(_INSTANCES):
            tellers[which % len(tellers)].tell(f"register {which}:1")
        _until(
            lambda: all(report["seen"] >= _INSTANCES for report in _reports(cluster)),
            "not all nodes have all instances",
        )
        time.sleep(5.0)
        with _part(cluster, parts, "at rest"):
            time.sleep(seconds)
        seen = [report["seen"] for report in _reports(cluster)]
        count = int(rate * seconds)
        with _part(cluster, parts, "under changes"):
            began = time.perf_counter()
            for number in range(count):
                time.sleep(max(0.0, began + number / rate - time.perf_counter()))
                which = number % _INSTANCES
                tellers[which % len(tellers)].tell(f"register {which}:{2 + number}")
            time.sleep(0.5)
        assert all(now["seen"] > before for before, now in zip(seen, _reports(cluster), strict=True))
        if burst:
            time.sleep(3.0)
            target = [report["seen"] + burst for report in _reports(cluster)]
            with _part(cluster, parts, "burst"):
                cluster[0].tell("register " + " ".join(f"{1000 + number}:1" for number in range(burst)))
                _until(
                    lambda: all(
                        report["seen"] >= wanted for report, wanted in zip(_reports(cluster), target, strict=True)
                    ),
                    "the burst did not reach all nodes",
                )
    return parts


def table(parts: dict[str, Part], rate: float) -> str:
    """The figures for people."""
    rows = [["part", "what, a node", "unit", "median", "most", "target", ""]]

    def row(part: str, what: str, unit: str, figures: list[float], target: float | None = None) -> None:
        told = ("", "") if target is None else (f"≤ {target:.3g}", verdict(median(figures) <= target))
        rows.append([part, what, unit, f"{median(figures):.3g}", f"{max(figures):.3g}", *told])

    for name, part in parts.items():
        if name == "burst":
            row(name, "CPU", "ms", [1000 * each for each in part.each("cpu")])
            row(name, "packets sent", "", part.each("counters", "packets_sent"), _TARGET_PACKETS)
            row(name, "bytes sent", "kB", [each / 1000 for each in part.each("counters", "bytes_sent")])
            row(name, "wake-ups", "", part.each("sleeps"))
            row(name, "until all have it (looked at every 0.25 s)", "s", [part.seconds])
            continue
        shares = [each / part.seconds for each in part.each("cpu")]
        target = _TARGET_SHARE if name == "under changes" and rate == 100 else None
        row(name, "share of a core", "%", [100 * each for each in shares], None if target is None else 100 * target)
        row(name, "wake-ups", "1/s", [each / part.seconds for each in part.each("sleeps")])
        row(name, "turns of the loop", "1/s", [each / part.seconds for each in part.each("turns")])
        row(name, "packets sent", "1/s", [each / part.seconds for each in part.each("counters", "packets_sent")])
        row(name, "bytes sent", "B/s", [each / part.seconds for each in part.each("counters", "bytes_sent")])
        for counter in ("probes_missed", "suspicions", "failures_declared", "deliveries_repeated"):
            row(name, counter.replace("_", " "), "", part.each("counters", counter))
    return markdown(rows)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=16, help="(default: %(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, help="changes a second (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each part (default: %(default)s)")
    parser.add_argument("--burst", type=int, default=1000, help="registrations at once; 0: none (default: %(default)s)")
    parser.add_argument("--through", type=int, default=0, help="nodes at which things change; 0: all (default)")
    parser.add_argument("--kinds", action="store_true", help="count the messages that are sent, by kind")
    parser.add_argument("--be", help=argparse.SUPPRESS)
    parser.add_argument("--join", nargs="*", default=[], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.be is not None:
        trio.run(lambda: _be_node(given.be, given.join, with_kinds=given.kinds))
        return
    load_before = os.getloadavg()[0]
    parts = measure(given.nodes, given.rate, given.seconds, given.burst, given.through, with_kinds=given.kinds)
    click.echo(table(parts, given.rate))
    if given.kinds:
        rows = [["part", "sent by a node", "mean"]]
        for name, part in parts.items():
            rows += [[name, kind, f"{mean:.1f}"] for kind, mean in part.kinds() if mean >= 0.5]
        click.echo(f"\n{markdown(rows)}")
    click.echo(f"\n`python -m tests.bench.changes`: {given.nodes} nodes; {machine(load_before)}.")


if __name__ == "__main__":
    main()
