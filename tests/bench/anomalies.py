"""Serf and gossipreg where some members are slow: how often is a healthy member failed?

    python tests/bench/anomalies.py                          32 agents, 8 of them hurt: a quarter of an hour
    python tests/bench/anomalies.py --rounds 1 --acts stop   one round, one act
    python tests/bench/anomalies.py --nice -15               where the machine has other things to do (needs root)

It needs Linux, the project's `test` extra and the Debian package `serf` (without it gossipreg runs alone). In each
round each side is started anew, one after the other, and hurt in one of two ways for --seconds:

    stop    the hurt agents are stopped (SIGSTOP) for 1 to 6 s, go on for 1 s, and so forth, each at its own times
    starve  the hurt agents share one core, at niceness 19, with busy loops at --loops-nice; all others have the other
            cores (two or more are needed); how much CPU the hurt got all the same is in the notes

Then all is well again, and what is still said within --after seconds counts too. A member that is hurt may well be
taken for failed; one that is not hurt must not be. Every report that a member failed is heard as it is made (gossipreg:
event stream; Serf: log), and counted by whom it is about and who made it. Both sides are hurt at the same times.
It takes at most --limit seconds. Progress goes to standard error, the table to standard output. Exit status: 0
measured, 1 not all measured, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from random import Random
from typing import Final

import attrs
import trio

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.bench import contest
from tests.bench.cluster import Agent, Cluster
from tests.bench.contest import SEALED, SERF, Bench, Circumstances, progress
from tests.bench.figures import Figure, ratio_text
from tests.bench.processes import BenchError, Brood, be_nice, cpu_seconds
from tests.bench.sightings import FAILED, Sightings

ACTS: Final = ("stop", "starve")

#: How long an agent is stopped, and how long it then goes on (seconds).
STOPPED: Final = (1.0, 6.0)
GOING: Final = 1.0

_WORST_NICENESS: Final = 19


@attrs.frozen
class Verdict:
    """``observer`` reported that ``subject`` has failed."""

    observer: str
    subject: str


@attrs.define(eq=False)
class Verdicts(Sightings):
    """Every report of a failure, however often it is made."""

    said: list[Verdict] = attrs.field(factory=list)

    def note(self, observer: str, what: str, subject: str, at: float) -> None:
        """``observer`` sees ``what`` of ``subject``."""
        if what == FAILED:
            self.said.append(Verdict(observer, subject))


@attrs.frozen
class Tally:
    """Failures reported in one act: of healthy members, by healthy ones and by any; and of the slowed members."""

    well_by_well: int
    well_by_any: int
    hurt_by_well: int

    @classmethod
    def of(cls, said: Sequence[Verdict], hurt: frozenset[str]) -> Tally:
        """Count what was said."""
        of_well = [verdict for verdict in said if verdict.subject not in hurt]
        return cls(
            well_by_well=sum(verdict.observer not in hurt for verdict in of_well),
            well_by_any=len(of_well),
            hurt_by_well=sum(verdict.subject in hurt and verdict.observer not in hurt for verdict in said),
        )


#: Each field of a tally: what it says, and whether ours are to be fewer than Serf's.
COUNTED: Final = (
    ("well_by_well", "members that were well, taken for failed by members that were well", True),
    ("well_by_any", "members that were well, taken for failed by anybody", True),
    ("hurt_by_well", "hurt members, taken for failed by members that were well", False),
)


async def stop_and_go(agent: Agent, rng: Random) -> None:
    """Stop an agent and let it go on, over and over, until cancelled."""
    try:
        while True:
            agent.process.popen.send_signal(signal.SIGSTOP)
            await trio.sleep(rng.uniform(*STOPPED))
            agent.process.popen.send_signal(signal.SIGCONT)
            await trio.sleep(GOING)
    finally:
        agent.process.popen.send_signal(signal.SIGCONT)


@contextmanager
def starved(hurt: Sequence[Agent], well: Sequence[Agent], loops: int, niceness: int) -> Iterator[None]:
    """Have the hurt share a core with busy loops that go before them, and the others the other cores.

    Raises ``BenchError`` without the right to such a niceness.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    before = {agent.name: os.getpriority(os.PRIO_PROCESS, agent.process.pid) for agent in hurt}
    # A loop whose parent is gone ends: should the benchmark itself be killed, none is left.
    loop = f"import os\nos.sched_setaffinity(0, {{{first}}})\nwhile os.getppid() == {os.getpid()}: pass"
    busy = [subprocess.Popen([sys.executable, "-c", loop], start_new_session=True) for _ in range(loops)]
    try:
        for process in busy:
            be_nice(process.pid, niceness)
        for agent in well:
            _place(agent, others)
        for agent in hurt:
            _place(agent, [first], _WORST_NICENESS)
        yield
    except PermissionError:
        raise BenchError(f"--loops-nice {niceness} takes root: give 0 or more") from None
    finally:
        for process in busy:
            process.kill()
            process.wait()
        with suppress(PermissionError):  # to be less nice again takes root; alone on a core it makes no difference
            for agent in hurt:
                _place(agent, [first, *others], before[agent.name])


def _place(agent: Agent, cores: Sequence[int], niceness: int | None = None) -> None:
    """Bind every thread of an agent to ``cores``, and give it a niceness."""
    if niceness is not None:
        be_nice(agent.process.pid, niceness)
    for task in Path(f"/proc/{agent.process.pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has just ended
            os.sched_setaffinity(int(task.name), cores)


@attrs.define(eq=False)
class Anomalies(Bench):
    """One run: the tallies of each act, by side, one a round."""

    tallies: dict[tuple[str, str], list[Tally]] = attrs.field(factory=dict)

    async def _sides(self) -> None:
        for number in range(self.options.rounds):
            sides = self.board.sides if number % 2 == 0 else self.board.sides[::-1]
            for act, label in product(self.options.acts, sides):
                with Brood(self.ears, self.options.nice) as brood:
                    cluster = self.cluster(label, brood)
                    cluster.sightings = Verdicts()
                    tally = await self._act(cluster, act, number)
                    cluster.end()
                self.tallies.setdefault((act, label), []).append(tally)
                progress(f"{act}, round {number + 1}, {label}: {tally} [load {os.getloadavg()[0]:.1f}]")

    async def _act(self, cluster: Cluster, act: str, number: int) -> Tally:
        options = self.options
        await self.gather(cluster)
        await trio.sleep(options.calm)
        rng = Random(number)
        hurt = rng.sample(cluster.agents[1:], options.hurt)
        assert isinstance(cluster.sightings, Verdicts)
        early = Tally.of(cluster.sightings.said, frozenset())
        if early.well_by_any:
            self.board.notes.append(f"{cluster.label}: {early.well_by_any} reports before anything was done")
        cluster.sightings.said.clear()
        if act == "stop":
            with trio.move_on_after(options.seconds):
                async with trio.open_nursery() as nursery:
                    for agent in hurt:
                        nursery.start_soon(stop_and_go, agent, Random(rng.random()))
        else:
            well = [agent for agent in cluster.agents if agent not in hurt]
            with starved(hurt, well, options.loops, options.loops_nice):
                before = [cpu_seconds(agent.process.pid) for agent in hurt]
                await trio.sleep(options.seconds)
                got = [cpu_seconds(agent.process.pid) - cpu for agent, cpu in zip(hurt, before, strict=True)]
            shares = Figure.of([100 * cpu / options.seconds for cpu in got])
            self.board.notes.append(f"{cluster.label}: starve: CPU of each that was hurt, % of a core: {shares}")
        await trio.sleep(options.after)
        return Tally.of(cluster.sightings.said, frozenset(agent.name for agent in hurt))

    def report(self, circumstances: Circumstances) -> str:
        """Conditions, table and notes."""
        options = self.options
        return (
            f"{options.nodes} agents of each kind, {options.hurt} of them hurt for {options.seconds:g} s, "
            f"{options.rounds} rounds; niceness {options.nice}, {circumstances}.\n"
            f"Sum (each round).\n\n{self._table()}\n\n{self.notes()}"
        )

    def _table(self) -> str:
        """All that was counted, in Markdown: the sum of the rounds, and each round."""
        sides = self.board.sides
        lines = [f"| act | reports about | {' | '.join(sides)} | ratio | target | |", "|---" * (len(sides) + 5) + "|"]
        for act, (field, title, fewer) in product(self.options.acts, COUNTED):
            counts = {side: [getattr(tally, field) for tally in self.tallies.get((act, side), ())] for side in sides}
            cells = [f"{sum(each)} ({', '.join(map(str, each))})" for each in counts.values()]
            ours, peer = sum(counts[SEALED]), sum(counts.get(SERF, ()))
            ratio = ratio_text(ours / peer) if peer else ""
            compared = fewer and bool(counts[SEALED] and counts.get(SERF))
            verdict = ("met" if ours < peer else "even" if ours == peer else "missed") if compared else ""
            lines.append(
                f"| {act} | {title} | {' | '.join(cells)} | {ratio} | {'fewer' if compared else ''} | {verdict} |"
            )
        return "\n".join(lines)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a word about it if it cannot be had."""
    parser = contest.parser(__doc__, nodes=32, calm=10, limit=3600)
    parser.add_argument("--hurt", type=int, default=8, metavar="C", help="how many of them are hurt (8)")
    parser.add_argument("--acts", default=",".join(ACTS), metavar="A,B", help=f"how they are hurt ({','.join(ACTS)})")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="how often all is done (2)")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="how long they are hurt (60)")
    parser.add_argument("--after", type=float, default=15, metavar="S", help="how long reports count after that (15)")
    parser.add_argument("--loops", type=int, default=8, metavar="N", help="busy loops of the act starve (8)")
    parser.add_argument("--loops-nice", type=int, default=-5, metavar="N", help="their niceness (-5, needs root)")
    options = parser.parse_args(given)
    contest.check(parser, options, "rounds", "loops")
    if not 0 < options.hurt < options.nodes - 1:
        parser.error("--hurt: at least one member is hurt, and at least two are not")
    options.acts = options.acts.split(",")
    if unknown := set(options.acts) - set(ACTS):
        parser.error(f"--acts: there is no act {', '.join(sorted(unknown))}; there are {', '.join(ACTS)}")
    if "starve" in options.acts and len(os.sched_getaffinity(0)) < 2:
        parser.error("--acts: starve needs two cores, one of them for those that are well")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return Anomalies.of(arguments(given)).hold()


if __name__ == "__main__":
    sys.exit(main())
