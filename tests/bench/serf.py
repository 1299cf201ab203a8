"""Serf and gossipreg side by side: N agents of each on one machine's loopback, measured in one run.

    python tests/bench/serf.py                                  64 agents, every row: a quarter of an hour
    python tests/bench/serf.py --nodes 16 --rows idle,kill      fewer agents, some rows
    python tests/bench/serf.py --skip-serf --json               gossipreg alone, for programs
    python tests/bench/serf.py --nice -15                       where the machine has other things to do (needs root)

It needs Linux, the project's `test` extra, the Debian package `serf` (without it the Serf side is skipped, with a word
about it), and root or CAP_NET_RAW for the row `idle`. The two sides run one after the other, never at once, so that
neither takes the other's CPU. Serf has its LAN profile and runs in clear; gossipreg is sealed, and for the idle rows
once more in clear. What is measured, and between which moments:

    registration  an agent is told something new (Serf: a tag over RPC; gossipreg: an instance over HTTP), from the
                  moment the request is sent, over an open connection, until the last agent shows it
    kill, stop    SIGKILL or SIGSTOP of one agent that offers something, until the last of the others dropped what it
                  offered from its lookups (gone), and took the agent for failed; then it is replaced by a new one
    idle          nobody asks anything: every IP packet from or to a gossip port is counted on `lo`, UDP and TCP;
                  CPU by each process's own clock; the spread is over four slices of the time. The cluster is two
                  minutes old by then (64 agents): sooner, Serf's exchanges of the whole state have not begun
    memory        of every agent, from /proc/PID
    cold          a seed, and when it is ready all others at once; full views are looked for by asking

Who saw what when is heard, not asked for: one process listens to the event streams of gossipreg and to the logs of Serf
(its own event stream holds events back by a second or more, which would be unfair), stamps what comes in before it
understands it, runs before all agents whenever there is something to hear (real-time priority; without the right to it
the notes say so), and says how late it was all the same. Afterwards every agent is asked whether its answers agree.

It takes at most --limit seconds; then, as at Ctrl-C, every agent is ended by its process id, and what was measured
until then is printed. Progress goes to standard error, the table (Markdown) or JSON to standard output. Exit status:
0 measured, 1 not all measured, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import click
import trio

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench import serf_cluster
from tests.bench.acts import Acts, Plan
from tests.bench.bytecode import bytecode_kept
from tests.bench.cluster import Cluster
from tests.bench.ears import Ears, Lateness, listen_first
from tests.bench.figures import GROUPS, Board
from tests.bench.gossipreg_cluster import GossipregCluster
from tests.bench.processes import BenchError, Brood, Usage
from tests.bench.serf_cluster import SerfCluster

SERF, SEALED, CLEAR = "Serf", "gossipreg", "gossipreg in clear"
IDLE_GROUPS = frozenset({"idle", "memory"})


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a word about it if it cannot be had."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=64, metavar="N", help="agents of each kind, 3 to 128 (64)")
    parser.add_argument("--rows", default=",".join(GROUPS), metavar="A,B", help=f"what to measure ({','.join(GROUPS)})")
    parser.add_argument("--skip-serf", action="store_true", help="measure gossipreg alone")
    parser.add_argument("--registrations", type=int, default=10, metavar="N", help="how many are timed (10)")
    parser.add_argument("--hurts", type=int, default=3, metavar="N", help="agents killed, and agents stopped (3)")
    parser.add_argument("--cold-starts", type=int, default=3, metavar="N", help="how often all are started (3)")
    parser.add_argument("--idle-seconds", type=float, default=20, metavar="S", help="how long idle lasts (20)")
    parser.add_argument("--patience", type=float, default=120, metavar="S", help="how long one thing may take (120)")
    parser.add_argument("--calm", type=float, default=5, metavar="S", help="how long echoes may last (5)")
    parser.add_argument("--age", type=float, metavar="S", help="age of a cluster that is called idle (130 for 64)")
    parser.add_argument("--limit", type=float, default=1800, metavar="S", help="how long all may take (1800)")
    parser.add_argument("--nice", type=int, default=0, metavar="N", help="niceness of all agents (0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(given)
    if not 3 <= options.nodes <= 128:
        parser.error("--nodes: from 3 to 128 agents fit on one machine")
    if options.age is None:
        options.age = idle_age(options.nodes)
    options.groups = frozenset(options.rows.split(","))
    if unknown := options.groups - set(GROUPS):
        parser.error(f"--rows: there is no row {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    if min(options.registrations, options.hurts, options.cold_starts) < 1:
        parser.error("--registrations, --hurts and --cold-starts: at least 1 is needed to know anything")
    return options


def idle_age(nodes: int) -> float:
    """When every Serf agent is known to have begun its exchanges of the whole state (seconds since its start).

    Two nodes exchange all they know every 30 s, every further 30 s for each doubling beyond 32 nodes; the first time
    between one and two such intervals after the start. Counted sooner, Serf would look cheaper than it is.
    """
    return 2 * 30 * (max(0, math.ceil(math.log2(nodes / 32))) + 1) + 10


def progress(text: str) -> None:
    """Tell whoever waits."""
    click.echo(text, err=True)


@attrs.define(eq=False)
class Bench:
    """One run: its options, and what has come out of it so far."""

    options: argparse.Namespace
    board: Board
    ears: Ears = attrs.field(factory=Ears)
    lateness: Lateness = attrs.field(factory=Lateness)
    interrupted: bool = False
    failure: str = ""

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
                except BenchError as error:
                    self.failure = str(error)
                nursery.cancel_scope.cancel()
        if time_left.cancelled_caught:
            self.failure = f"not done after {limit:g} s: ask for fewer --rows or --nodes, or raise --limit"

    async def _end_at(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for _ in signals:
            self.interrupted = True
            progress("interrupted: ending all agents")
            scope.cancel()

    async def _sides(self) -> None:
        for label in self.board.sides:
            groups = self.options.groups & IDLE_GROUPS if label == CLEAR else self.options.groups
            before = Usage.now()
            with Brood(self.ears, self.options.nice) as brood:
                acts = Acts(self._cluster(label, brood), self._plan(groups), self.board, self.lateness, progress)
                await acts.all()
            others = Usage.now().by_others_since(before)
            self.board.notes.append(f"{label}: other programs kept {others:.2f} cores busy meanwhile, on average")

    def _plan(self, groups: frozenset[str]) -> Plan:
        options = self.options
        return Plan(
            nodes=options.nodes,
            groups=groups,
            registrations=options.registrations,
            hurts=options.hurts,
            cold_starts=options.cold_starts,
            idle_seconds=options.idle_seconds,
            patience=options.patience,
            calm=options.calm,
            age=options.age,
        )

    def _cluster(self, label: str, brood: Brood) -> Cluster:
        if label == SERF:
            return SerfCluster(label, self.ears, brood)
        return GossipregCluster(label, self.ears, brood, key_file=brood.key_file() if label == SEALED else None)


def conditions(options: argparse.Namespace, versions: dict[str, str]) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "nodes": options.nodes,
        "nice": options.nice,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "versions": versions,
    }


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = arguments(given)
    why_not = "not asked for" if options.skip_serf else serf_cluster.absent()
    versions = {"gossipreg": metadata.version("gossipreg")}
    if why_not is None:
        versions = {"Serf": serf_cluster.version(), **versions}
    sides = [*([SERF] if why_not is None else []), SEALED, *([CLEAR] if options.groups & IDLE_GROUPS else [])]
    about = conditions(options, versions)
    bench = Bench(options, Board(sides, peer=SERF, ours=SEALED))
    if why_not is not None:
        bench.board.notes.append(f"Serf is left out: {why_not}")
        progress(bench.board.notes[-1])
    if not listen_first():
        bench.board.notes.append("the observer has no right to real-time priority: its stamps may be late, see below")
    progress(f"at most {options.limit:g} s; {json.dumps(about)}")
    began = time.perf_counter()
    with bytecode_kept():
        trio.run(bench.run)
    about["seconds"] = round(time.perf_counter() - began)
    if bench.failure:
        bench.board.notes.append(bench.failure)
    if options.json:
        click.echo(json.dumps({"conditions": about, **bench.board.json()}, indent=2))
    else:
        click.echo(as_text(about, bench.board))
    if bench.failure:
        progress(f"serf.py: {bench.failure}")
    return 130 if bench.interrupted else 1 if bench.failure else 0


def as_text(about: dict[str, Any], board: Board) -> str:
    """Conditions, table and notes, in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    head = (
        f"{about['nodes']} agents of each kind on 127.0.0.1, {about['cores']} cores, niceness {about['nice']}, "
        f"load before {about['load_before']}; {versions}, Python {about['python']}, Linux {about['kernel']}; "
        f"{about['seconds']} s in all.\n"
        "Median (lowest to highest, number of values); idle rows: mean (over slices of time)."
    )
    return "\n\n".join([head, board.table(), "\n".join(f"- {note}" for note in board.notes)]).rstrip()


if __name__ == "__main__":
    sys.exit(main())
