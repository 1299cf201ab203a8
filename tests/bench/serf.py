"""Serf and gossipreg side by side: N agents of each on one machine's loopback, measured in one run.

    python tests/bench/serf.py                                  64 agents, every row: some twenty minutes
    python tests/bench/serf.py --nodes 16 --rows idle,kill      fewer agents, some rows
    python tests/bench/serf.py --skip-serf --json               gossipreg alone, for programs
    python tests/bench/serf.py --nice -15                       where the machine has other things to do (needs root)

It needs Linux, the project's `test` extra, the Debian package `serf` (without it the Serf side is skipped, with a word
about it), and root or CAP_NET_RAW for the rows `idle` and `burst`. The two sides run one after the other, never at
once, so that neither takes the other's CPU. Serf has its LAN profile and runs in clear; gossipreg is sealed, and for
the idle rows once more in clear. What is measured, and between which moments:

    registration  an agent is told something new (Serf: a tag over RPC; gossipreg: an instance over HTTP), from the
                  moment the request is sent, over an open connection, until the last agent shows it
    kill, stop    SIGKILL or SIGSTOP of one agent that offers something, until the last of the others dropped what it
                  offered from its lookups (gone), and took the agent for failed; then it is replaced by a new one
    idle          nothing is asked: every IP packet from or to a gossip port is counted on `lo`, UDP and TCP;
                  CPU by each process's own clock; the spread is over four slices of the time. The cluster is two
                  minutes old by then (64 agents): sooner, Serf's exchanges of the whole state have not begun
    memory        of every agent, from /proc/PID
    cold          a seed, and when it is ready all others at once; full views are looked for by asking
    burst         the packets that one registration is (Serf: a tag), beyond those of rest; and what Serf has nothing
                  like: a thousand instances in one burst, see tests/bench/burst.py

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
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench import contest, serf_cluster
from tests.bench.acts import Acts, Plan
from tests.bench.contest import CLEAR, SERF, Bench, Circumstances, progress
from tests.bench.figures import GROUPS
from tests.bench.processes import Brood, Usage

IDLE_GROUPS = frozenset({"idle", "memory"})


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a word about it if it cannot be had."""
    parser = contest.parser(__doc__, nodes=64, calm=5, limit=2700)
    parser.add_argument("--rows", default=",".join(GROUPS), metavar="A,B", help=f"what to measure ({','.join(GROUPS)})")
    parser.add_argument("--registrations", type=int, default=10, metavar="N", help="how many are timed (10)")
    parser.add_argument("--hurts", type=int, default=3, metavar="N", help="agents killed, and agents stopped (3)")
    parser.add_argument("--cold-starts", type=int, default=3, metavar="N", help="how often all are started (3)")
    parser.add_argument("--burst", type=int, default=1000, metavar="N", help="registrations in one burst (1000)")
    parser.add_argument("--bursts", type=int, default=3, metavar="N", help="how many bursts (3)")
    parser.add_argument("--connections", type=int, default=1, metavar="N", help="connections of a burst (1)")
    parser.add_argument("--idle-seconds", type=float, default=20, metavar="S", help="how long idle lasts (20)")
    parser.add_argument("--age", type=float, metavar="S", help="age of a cluster that is called idle (130 for 64)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args(given)
    contest.check(parser, options, "registrations", "hurts", "cold-starts", "burst", "bursts", "connections")
    if options.age is None:
        options.age = idle_age(options.nodes)
    options.groups = frozenset(options.rows.split(","))
    if unknown := options.groups - set(GROUPS):
        parser.error(f"--rows: there is no row {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return options


def idle_age(nodes: int) -> float:
    """When every Serf agent is known to have begun its exchanges of the whole state (seconds since its start).

    Two nodes exchange all they know every 30 s, every further 30 s for each doubling beyond 32 nodes; the first time
    between one and two such intervals after the start. Counted sooner, Serf would look cheaper than it is.
    """
    return 2 * 30 * (max(0, math.ceil(math.log2(nodes / 32))) + 1) + 10


@attrs.define(eq=False)
class Beside(Bench):
    """One run: every row, of one side after the other."""

    async def _sides(self) -> None:
        for label in self.board.sides:
            groups = self.options.groups & IDLE_GROUPS if label == CLEAR else self.options.groups
            before = Usage.now()
            with Brood(self.ears, self.options.nice) as brood:
                await Acts(self.cluster(label, brood), self._plan(groups), self.board, self.lateness, progress).all()
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
            burst=options.burst,
            bursts=options.bursts,
            connections=options.connections,
        )

    def report(self, circumstances: Circumstances) -> str:
        """Conditions, table and notes."""
        about = self._conditions(circumstances)
        if self.options.json:
            return json.dumps({"conditions": about, **self.board.json()}, indent=2)
        versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
        head = (
            f"{about['nodes']} agents of each kind on 127.0.0.1, niceness {about['nice']}, {circumstances}; "
            f"{versions}, Python {about['python']}, Linux {about['kernel']}.\n"
            "Median (lowest to highest, number of values); idle rows: mean (over slices of time)."
        )
        return f"{head}\n\n{self.board.table()}\n\n{self.notes()}".rstrip()

    def _conditions(self, circumstances: Circumstances) -> dict[str, Any]:
        """What the figures depend on."""
        serf = {SERF: serf_cluster.version()} if SERF in self.board.sides else {}
        return {
            "nodes": self.options.nodes,
            "nice": self.options.nice,
            "cores": len(os.sched_getaffinity(0)),
            "load_before": round(circumstances.load_before, 2),
            "seconds": round(circumstances.seconds),
            "python": platform.python_version(),
            "kernel": platform.release(),
            "versions": {**serf, "gossipreg": metadata.version("gossipreg")},
        }


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = arguments(given)
    return Beside.of(options, in_clear=bool(options.groups & IDLE_GROUPS)).hold()


if __name__ == "__main__":
    sys.exit(main())
