"""Serf and gossipreg under packet loss: how long until the last of N agents shows a registration?

    python tests/bench/loss.py                            32 agents of each kind, 0, 10 and 30 % loss: five minutes
    python tests/bench/loss.py --loss 30 --rounds 1       one loss rate, one round
    python tests/bench/loss.py --nice -15                 where the machine has other things to do (needs root)

It needs Linux, the project's `test` extra, `unshare`, iproute2, iptables, the right to make a network namespace (root,
or a kernel that lets users), and the Debian package `serf` (without it gossipreg runs alone). All runs in one network
namespace that nothing else uses and that is gone when the last process in it ends. In there every packet on its way to
its receiver is thrown away with the given probability, independently of all others: probes, gossip, and the segments
of TCP between members; but not what passes between an agent and this program, which only looks on. How many were
really thrown away is in the notes.

A registration (Serf: a tag) is measured as in tests/bench/serf.py: from the moment that one agent is asked for it, over
an open connection, until the last agent shows it. It takes at most --limit seconds. Progress goes to standard error,
the table to standard output. Exit status: 0 measured, 1 not all measured, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import attrs
import trio

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench import contest
from tests.bench.acts import Acts, Plan
from tests.bench.cluster import Cluster
from tests.bench.contest import SEALED, SERF, Bench, Circumstances, progress
from tests.bench.figures import Figure, ratio_text
from tests.bench.processes import Brood

#: Tells the program that it has its namespace.
_INSIDE: Final = "--inside"

_DROPPED: Final = re.compile(r"^\[(\d+):\d+\] -A INPUT .*-j DROP$", re.MULTILINE)
_LET_THROUGH: Final = re.compile(r"^:INPUT ACCEPT \[(\d+):\d+\]$", re.MULTILINE)


def tables(command: str) -> str:
    """``iptables-COMMAND``, by preference the one that needs the least of the kernel."""
    return shutil.which(f"iptables-legacy-{command}") or f"iptables-{command}"


def lose(percent: float, spared: Iterable[int]) -> None:
    """From now on lose so many of all packets, but none from or to the TCP ports ``spared``. Counts start at zero."""
    rules = [f"-A INPUT -p tcp --{end} {port} -j ACCEPT" for port in spared for end in ("dport", "sport")]
    if percent:
        rules.append(f"-A INPUT -m statistic --mode random --probability {percent / 100:.4f} -j DROP")
    table = "\n".join(["*filter", ":INPUT ACCEPT [0:0]", *rules, "COMMIT", ""])
    subprocess.run([tables("restore")], input=table, text=True, check=True)


def lost() -> tuple[int, int]:
    """How many packets were lost since, and how many there were."""
    shown = subprocess.run([tables("save"), "-c", "-t", "filter"], capture_output=True, text=True, check=True).stdout
    dropped = sum(int(found[1]) for found in _DROPPED.finditer(shown))
    return dropped, dropped + sum(int(found[1]) for found in _LET_THROUGH.finditer(shown))


@attrs.define(eq=False)
class Loss(Bench):
    """One run: how long each registration took (ms), by loss rate and side."""

    took: dict[tuple[float, str], list[float]] = attrs.field(factory=dict)

    async def _sides(self) -> None:
        for number in range(self.options.rounds):
            for label in self.board.sides if number % 2 == 0 else self.board.sides[::-1]:
                with Brood(self.ears, self.options.nice) as brood:
                    cluster = self.cluster(label, brood)
                    await self._registrations(cluster, number)
                    cluster.end()

    async def _registrations(self, cluster: Cluster, number: int) -> None:
        options = self.options
        lose(0, ())
        await self.gather(cluster)
        plan = Plan(nodes=options.nodes, patience=options.patience, calm=options.calm)
        acts = Acts(cluster, plan, self.board, self.lateness, progress)
        accused = 0
        for percent in options.loss:
            lose(percent, [agent.asked for agent in cluster.agents])
            await trio.sleep(options.calm)
            took = self.took.setdefault((percent, cluster.label), [])
            for count in range(options.registrations):
                began, seen = await acts.offer(acts.rng.choice(cluster.agents), f"loss-{number}-{percent:g}-{count}")
                took.append(1000 * (seen - began))
                await trio.sleep(options.pause)
            dropped, packets = lost()
            wrongly = len(cluster.sightings.wrongly_accused) - accused
            accused += wrongly
            self.board.notes.append(
                f"{cluster.label}, {percent:g} %, round {number + 1}: {dropped} of {packets} packets were lost "
                f"({100 * dropped / max(1, packets):.1f} %); {wrongly} times one that was well was taken for failed"
            )
            progress(f"{self.board.notes[-1]}; {Figure.of(took)} ms [load {os.getloadavg()[0]:.1f}]")

    def report(self, circumstances: Circumstances) -> str:
        """Conditions, table and notes."""
        return (
            f"A registration (Serf: a tag) seen by the last of {self.options.nodes} agents: median (lowest to highest, "
            f"n);\nniceness {self.options.nice}, {circumstances}.\n\n{self._table()}\n\n{self.notes()}"
        )

    def _table(self) -> str:
        """All that was measured, in Markdown."""
        sides = self.board.sides
        lines = [f"| packets lost | unit | {' | '.join(sides)} | ratio |", "|---" * (len(sides) + 3) + "|"]
        for percent in self.options.loss:
            found = {side: Figure.of(self.took[percent, side]) for side in sides if (percent, side) in self.took}
            cells = [str(found.get(side, "")) for side in sides]
            ratio = ratio_text(found[SEALED].middle / found[SERF].middle) if len(found) == 2 else ""
            lines.append(f"| {percent:g} % | ms | {' | '.join(cells)} | {ratio} |")
        return "\n".join(lines)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a word about it if it cannot be had."""
    parser = contest.parser(__doc__, nodes=32, calm=5, limit=3600)
    parser.add_argument("--loss", default="0,10,30", metavar="P,Q", help="percent of packets lost (0,10,30)")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="how often all is done (2)")
    parser.add_argument("--registrations", type=int, default=10, metavar="N", help="how many at each loss (10)")
    parser.add_argument("--pause", type=float, default=1, metavar="S", help="time between two of them (1)")
    parser.add_argument(_INSIDE, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    contest.check(parser, options, "rounds", "registrations")
    try:
        options.loss = [float(percent) for percent in options.loss.split(",")]
    except ValueError:
        parser.error("--loss: percentages, with commas between them")
    if not all(0 <= percent < 100 for percent in options.loss):
        parser.error("--loss: from 0 to less than 100 %")
    for program in ("unshare", "ip", tables("restore"), tables("save")):
        if shutil.which(program) is None:
            parser.error(f"{program} is not on this machine: packages util-linux, iproute2, iptables")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    options = arguments(given)
    if not options.inside:
        own = ["--net"] if os.geteuid() == 0 else ["--map-root-user", "--net"]
        again = [sys.executable, str(Path(__file__).resolve()), *(sys.argv[1:] if given is None else given), _INSIDE]
        os.execvp("unshare", ["unshare", *own, "--", *again])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    return Loss.of(options).hold()


if __name__ == "__main__":
    sys.exit(main())
