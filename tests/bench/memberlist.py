"""memberlist and gossipreg side by side: N programs with a member of each in them, on one machine's loopback.

    python tests/bench/memberlist.py                              64 of each: ten minutes
    python tests/bench/memberlist.py --nodes 32 --rows one,kill   fewer, some rows

memberlist is HashiCorp's Go library for membership, below Serf and Consul. A program of ours (tests/bench/peers) embeds
it as its documentation shows, with `DefaultLANConfig`; the other side is a Python program that embeds a node with
defaults. Both encrypt. What a member of memberlist tells the others is its metadata (512 bytes at most); a node
registers an instance. Both programs are told by their standard input, and say what they see on standard output, so the
observer and its costs are the same. Needs Go and its module proxy, or the peer is left out with a word about it, and
CAP_NET_RAW for the rows `idle` and `one`.

The rows are measured as in tests/bench/serf.py, one side after the other: ``one`` is what one registration costs beyond
rest, packets, bytes and CPU. Exit status: 0 measured, 1 not all measured, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import base64
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench import contest
from tests.bench.acts import Acts, Plan
from tests.bench.cluster import Cluster
from tests.bench.contest import SEALED, Bench, Circumstances, progress
from tests.bench.figures import Board
from tests.bench.line_cluster import LineCluster, own_node
from tests.bench.peer_programs import build
from tests.bench.processes import BenchError, Brood, Usage
from tests.bench.serf import idle_age

MEMBERLIST: Final = "memberlist"

#: What can be measured.
GROUPS: Final = ("idle", "memory", "registration", "one", "kill", "stop")


@attrs.define(eq=False)
class Members(Bench):
    """One run; ``program`` is the one that embeds memberlist."""

    program: Path | None = attrs.field(kw_only=True, default=None)

    async def _sides(self) -> None:
        options = self.options
        plan = Plan(
            nodes=options.nodes,
            groups=options.groups,
            patience=options.patience,
            calm=options.calm,
            registrations=options.registrations,
            hurts=options.hurts,
            idle_seconds=options.idle_seconds,
            age=options.age,
        )
        for label in self.board.sides:
            before = Usage.now()
            with Brood(self.ears, options.nice) as brood:
                acts = Acts(self.cluster(label, brood), plan, self.board, self.lateness, progress)
                await acts.all()
            others = Usage.now().by_others_since(before)
            self.board.notes.append(f"{label}: other programs kept {others:.2f} cores busy meanwhile, on average")

    def cluster(self, label: str, brood: Brood) -> Cluster:
        """One of that side, without members yet."""
        key = brood.key_file()

        def member(name: str, seed: str | None) -> Sequence[str]:
            joined = [] if seed is None else [seed]
            if label == MEMBERLIST:
                return [str(self.program), name, base64.b64decode(key.read_text()).hex(), *joined]
            failures = ("--failures",) if self.options.groups & {"kill", "stop"} else ()
            joins = [f"--join={each}" for each in joined]
            return own_node("--name", name, "--key-file", str(key), *failures, *joins)

        return LineCluster(label, self.ears, brood, command=member)

    def report(self, circumstances: Circumstances) -> str:
        """Conditions, table and notes."""
        return (
            f"{self.options.nodes} programs of each kind on 127.0.0.1, both encrypted, niceness {self.options.nice}, "
            f"{circumstances}; Python {platform.python_version()}, Linux {platform.release()}.\n"
            "Median (lowest to highest, number of values); idle rows: mean (over slices of time).\n\n"
            f"{self.board.table()}\n\n{self.notes()}"
        )


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a sentence about it if it cannot be had."""
    parser = contest.parser(__doc__, nodes=64, calm=5, limit=2700, serf=False)
    parser.add_argument("--rows", default=",".join(GROUPS), metavar="A,B", help=f"what to measure ({','.join(GROUPS)})")
    parser.add_argument("--registrations", type=int, default=10, metavar="N", help="how many are timed (10)")
    parser.add_argument("--hurts", type=int, default=3, metavar="N", help="members killed, and members stopped (3)")
    parser.add_argument("--idle-seconds", type=float, default=20, metavar="S", help="how long idle lasts (20)")
    parser.add_argument("--age", type=float, metavar="S", help="age of a cluster that is called idle (130 for 64)")
    options = parser.parse_args(given)
    contest.check(parser, options, "registrations", "hurts")
    if options.age is None:
        options.age = idle_age(options.nodes)
    options.groups = frozenset(options.rows.split(","))
    if unknown := options.groups - set(GROUPS):
        parser.error(f"--rows: there is no row {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = arguments(given)
    with tempfile.TemporaryDirectory(prefix="gossipreg-bench-") as directory:
        notes: list[str] = []
        program = None
        try:
            program = build([MEMBERLIST], Path(directory))[MEMBERLIST]
        except BenchError as error:
            notes.append(f"{MEMBERLIST} is left out: {error}")
            progress(notes[-1])
        sides = [*([MEMBERLIST] if program else []), SEALED]
        board = Board(sides, MEMBERLIST, SEALED, options.nodes, notes=notes, news="its metadata", has_targets=False)
        return Members(options, board, program=program).hold()


if __name__ == "__main__":
    sys.exit(main())
