"""A run in which Serf and gossipreg take turns: the contestants, how it ends, and what it prints.

Progress goes to standard error, what was measured to standard output. It takes at most --limit seconds; then, as at
Ctrl-C, every agent is ended by its process id, and what was measured until then is printed.
"""

from __future__ import annotations

import abc
import argparse
import json
import os
import signal
import time
from collections.abc import AsyncIterator

import attrs
import click
import trio

from tests.bench import serf_cluster
from tests.bench.bytecode import bytecode_kept
from tests.bench.cluster import Cluster
from tests.bench.ears import Ears, Lateness, listen_first
from tests.bench.figures import Board
from tests.bench.gossipreg_cluster import GossipregCluster
from tests.bench.processes import BenchError, Brood
from tests.bench.serf_cluster import SerfCluster

SERF, SEALED, CLEAR = "Serf", "gossipreg", "gossipreg in clear"


def progress(text: str) -> None:
    """Wake the task that waits."""
    click.echo(text, err=True)


def parser(about: str | None, *, nodes: int, calm: float, limit: float, serf: bool = True) -> argparse.ArgumentParser:
    """What can be said of every such run; ``about`` is the script's docstring, the others are what is usual.

    ``serf``: whether Serf is one of the sides.
    """
    made = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    made.add_argument("--nodes", type=int, default=nodes, metavar="N", help=f"agents of each kind, 3 to 128 ({nodes})")
    made.add_argument("--calm", type=float, default=calm, metavar="S", help=f"how long all is left alone ({calm:g})")
    made.add_argument("--patience", type=float, default=120, metavar="S", help="how long one thing may take (120)")
    made.add_argument("--limit", type=float, default=limit, metavar="S", help=f"how long all may take ({limit:g})")
    made.add_argument("--nice", type=int, default=0, metavar="N", help="niceness of all agents (0)")
    if serf:
        made.add_argument("--skip-serf", action="store_true", help="measure gossipreg alone")
    return made


def check(made: argparse.ArgumentParser, options: argparse.Namespace, *counts: str) -> None:
    """End the process with a word about it if there are too few or too many agents, or less than 1 of ``counts``."""
    if not 3 <= options.nodes <= 128:
        made.error("--nodes: from 3 to 128 agents fit on one machine")
    for name in counts:
        if getattr(options, name.replace("-", "_")) < 1:
            made.error(f"--{name}: at least 1 is needed to know anything")


def _word(failures: BaseExceptionGroup[BenchError]) -> str:
    """What the first of them says."""
    first = failures.exceptions[0]
    return _word(first) if isinstance(first, BaseExceptionGroup) else str(first)


@attrs.frozen
class Circumstances:
    """What a run's figures depend on besides the programs: the load before it, and how long it took (seconds)."""

    load_before: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{len(os.sched_getaffinity(0))} cores, load before {self.load_before:.1f}, after "
            f"{os.getloadavg()[0]:.1f}; {self.seconds:.0f} s in all"
        )


@attrs.define(eq=False)
class Bench(abc.ABC):
    """One run: its options, and what has come out of it so far."""

    options: argparse.Namespace
    board: Board
    ears: Ears = attrs.field(factory=Ears)
    lateness: Lateness = attrs.field(factory=Lateness)
    interrupted: bool = False
    failure: str = ""

    @classmethod
    def of(cls, options: argparse.Namespace, *, in_clear: bool = False) -> Bench:
        """One with Serf if it is there and wanted, else without and with a note; with gossipreg in clear if wanted."""
        why_not = "not asked for" if options.skip_serf else serf_cluster.absent()
        sides = [*([SERF] if why_not is None else []), SEALED, *([CLEAR] if in_clear else [])]
        bench = cls(options, Board(sides, peer=SERF, ours=SEALED, agents=options.nodes))
        if why_not is not None:
            bench.board.notes.append(f"Serf is left out: {why_not}")
            progress(bench.board.notes[-1])
        return bench

    @abc.abstractmethod
    async def _sides(self) -> None:
        """Measure every side. Raises ``BenchError``."""

    @abc.abstractmethod
    def report(self, circumstances: Circumstances) -> str:
        """What was measured, in Markdown or JSON."""

    def cluster(self, label: str, brood: Brood) -> Cluster:
        """One of that side, without agents yet."""
        if label == SERF:
            return SerfCluster(label, self.ears, brood)
        return GossipregCluster(label, self.ears, brood, key_file=brood.key_file() if label == SEALED else None)

    async def gather(self, cluster: Cluster) -> None:
        """Start a cluster, and follow all of its agents once they agree. Raises ``BenchError`` if they do not."""
        await cluster.start(self.options.nodes)
        if await cluster.settle(self.options.patience) is None:
            raise BenchError(f"{cluster.label}: views are not full and equal after {self.options.patience:g} s")
        for agent in cluster.agents:
            await cluster.follow(agent)

    async def run(self) -> None:
        """Measure every side, until done, interrupted, or out of time."""
        limit = self.options.limit
        with (
            trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals,
            trio.move_on_after(limit) as time_left,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end_at, signals, nursery.cancel_scope)
                nursery.start_soon(self.ears.listen)
                nursery.start_soon(self.lateness.watch)
                try:
                    await self._sides()
                except* BenchError as failures:
                    self.failure = _word(failures)
                nursery.cancel_scope.cancel()
        if time_left.cancelled_caught:
            self.failure = f"not done after {limit:g} s: ask for less, or raise --limit"

    async def _end_at(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in signals:
            self.interrupted = True
            progress("interrupted: ending all agents")
            scope.cancel()

    def hold(self) -> int:
        """Run, and print what came out; returns the exit status."""
        if not listen_first():
            self.board.notes.append("the observer has no right to real-time priority: its stamps may be late")
        progress(f"at most {self.options.limit:g} s; {json.dumps(vars(self.options), default=sorted)}")
        load, began = os.getloadavg()[0], time.perf_counter()
        with bytecode_kept():
            trio.run(self.run)
        if self.failure:
            self.board.notes.append(self.failure)
            progress(self.failure)
        click.echo(self.report(Circumstances(load, time.perf_counter() - began)))
        return 130 if self.interrupted else 1 if self.failure else 0

    def notes(self) -> str:
        """All notes, as a list in Markdown."""
        return "\n".join(f"- {note}" for note in self.board.notes)
