"""Experiments of the Lifeguard paper (arXiv 1707.00788v2), and the computation of its table.

128 members, of which C random ones block in lock-step (see `block`). *Interval*: blocked for D, running for I, repeated
for at least 120 s. False positives are failures reported of members that were never blocked; of these, FP- are those
reported by such members. *Threshold*: one block of D; detection times of the blocked members, by the first and by the
last of the other members.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Final

import attrs

from gossipreg_sim.reproduce.block import Block
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.reproduce.parallel_runs import RunOptions, run_all
from gossipreg_sim.reproduce.profiles import COMPARED, LIFEGUARD, OURS, SWIM, Profile, lifeguard
from gossipreg_sim.reproduce.published import LIFEGUARD as PUBLISHED
from gossipreg_sim.reproduce.published import LIFEGUARD_RUNS, TUNING
from gossipreg_sim.reproduce.statistics import interval, percent, quantile
from gossipreg_sim.reproduce.tables import Cell, Findings, Table, triple

#: Minimum duration of the repeated blocks (seconds), and the quantiles of detection times.
_LEAST: Final = 120.0
_SHARES: Final = (0.5, 0.99, 0.999)


@attrs.frozen
class Grid:
    """The parameters of the runs: every combination is run ``repeats`` times."""

    members: int
    anomalous: tuple[int, ...]  # C
    on: tuple[float, ...]  # D, seconds
    off: tuple[float, ...]  # I, seconds
    runs: int
    threshold: tuple[tuple[int, float], ...]  # C and D, seconds
    threshold_runs: int
    least: float = _LEAST


FULL: Final = Grid(
    members=128,
    anomalous=(1, 4, 8, 12, 16, 20, 24, 28, 32),
    on=(0.128, 0.512, 2.048, 8.192, 16.384, 32.768),
    off=(0.001, 0.004, 0.016, 0.064, 0.256, 1.024, 4.096, 16.384),
    runs=10,
    threshold=tuple((c, 32.768) for c in (1, 4, 8, 12, 16, 20, 24, 28, 32)),
    threshold_runs=10,
)

#: Parameters with most false positives: blocks longer than a suspicion, with little time between them.
QUICK: Final = attrs.evolve(
    FULL,
    anomalous=(16,),
    on=(16.384, 32.768),
    off=(0.016, 0.064),
    runs=1,
    threshold=((16, 32.768),),
    threshold_runs=3,
)


@attrs.frozen
class Run:
    """One run: ``off`` is None for a single block."""

    profile: Profile
    members: int
    anomalous: int
    on: float
    off: float | None
    least: float
    seed: int


@attrs.frozen
class Outcome:
    """The result of one run."""

    fp: int  # failures reported of members that were never blocked
    fp_healthy: int  # of these, reported by members that were never blocked
    packets: int
    bytes: int
    first: tuple[float, ...]  # seconds from the block to the first report, per reported member
    everywhere: tuple[float, ...]  # seconds to the last report, per member that all others reported


def run_one(run: Run) -> Outcome:
    """Execute one run."""
    experiment = ExperimentCluster.of(run.profile, run.members, run.seed)
    blocked = experiment.world.rng("blocked").sample(experiment.names, run.anomalous)
    block = Block(experiment, blocked)
    start, packets, sent = experiment.world.now, experiment.packets, experiment.bytes
    if run.off is None:
        block.hold(run.on)
    else:
        block.cycle(run.on, run.off, run.least)
    is_blocked = frozenset(blocked)
    false = [failure for failure in experiment.failures if failure.subject not in is_blocked]
    first, everywhere = [], []
    for name in blocked:
        seen = {
            f.observer: f.at
            for f in reversed(experiment.failures)
            if f.subject == name and f.observer not in is_blocked
        }
        if seen:
            first.append(experiment.seconds(min(seen.values()) - start))
        if len(seen) == run.members - run.anomalous:
            everywhere.append(experiment.seconds(max(seen.values()) - start))
    return Outcome(
        fp=len(false),
        fp_healthy=sum(failure.observer not in is_blocked for failure in false),
        packets=experiment.packets - packets,
        bytes=experiment.bytes - sent,
        first=tuple(first),
        everywhere=tuple(everywhere),
    )


@attrs.frozen
class Sum:
    """All runs of one profile."""

    interval: tuple[Outcome, ...]
    threshold: tuple[Outcome, ...]

    @property
    def fp(self) -> list[int]:
        """False positives of each run."""
        return [outcome.fp for outcome in self.interval]

    @property
    def fp_healthy(self) -> list[int]:
        """False positives reported by members that were never blocked, of each run."""
        return [outcome.fp_healthy for outcome in self.interval]

    def first(self) -> list[float | None]:
        """Seconds to the first report: median, 99 %, 99.9 %."""
        values = [value for outcome in self.threshold for value in outcome.first]
        return [quantile(values, share) for share in _SHARES]

    def everywhere(self) -> list[float | None]:
        """Seconds to the last report: median, 99 %, 99.9 %."""
        values = [value for outcome in self.threshold for value in outcome.everywhere]
        return [quantile(values, share) for share in _SHARES]


def runs_of(profile: Profile, grid: Grid, seed: int) -> tuple[list[Run], list[Run]]:
    """Return the Interval and Threshold runs of one profile; equal seeds block the same members in every profile."""
    cells = product(grid.anomalous, grid.on, grid.off, range(grid.runs))
    repeated = [Run(profile, grid.members, c, on, off, grid.least, seed + run) for c, on, off, run in cells]
    single = [
        Run(profile, grid.members, c, on, None, 0.0, seed + run)
        for (c, on), run in product(grid.threshold, range(grid.threshold_runs))
    ]
    return repeated, single


def sums(profiles: Sequence[Profile], grid: Grid, order: RunOptions) -> list[Sum]:
    """Execute all runs of all profiles."""
    planned = [runs_of(profile, grid, order.seed) for profile in profiles]
    outcomes = iter(run_all(run_one, [run for both in planned for runs in both for run in runs], order))
    return [
        Sum(tuple(next(outcomes) for _ in repeated), tuple(next(outcomes) for _ in single))
        for repeated, single in planned
    ]


def reproduce(grid: Grid, order: RunOptions) -> Findings:
    """Run the experiments; the tables show the paper's values beside ours."""
    compared = [*COMPARED, *([OURS] if order.ours else [])]
    tuned = [lifeguard(alpha, beta) for alpha, beta in TUNING if (alpha, beta) != (5, 6)]
    made = sums([*compared, *tuned], grid, order)
    by_name = dict(zip([profile.name for profile in compared], made, strict=False))
    swim = by_name[SWIM.name]
    rows = [row for name, each in by_name.items() for row in _rows(name, each, swim)]
    main = Table(
        f"Lifeguard: {grid.members} members; Interval: {len(swim.interval)} runs, Threshold: {len(swim.threshold)}",
        (
            *("protocol", "by", "FP", "% of SWIM", "95 %", "FP-", "FP- %", "95 % "),
            *("messages/run", "MiB/run", "first s", "everywhere s"),
        ),
        tuple(rows),
        "first, everywhere: median / 99 % / 99.9 % of the blocked. The paper's totals are of 4,320 runs on a grid "
        "with\nmany mild settings; compare order and shares, not totals.",
    )
    sums_tuned = dict(zip([key for key in TUNING if key != (5, 6)], made[len(compared) :], strict=True))
    sums_tuned[5, 6] = by_name[LIFEGUARD.name]
    return Findings("lifeguard", order.command, (main, _tuning(sums_tuned, swim)))


def _rows(name: str, each: Sum, swim: Sum) -> list[tuple[Cell, ...]]:
    runs = len(each.interval)
    here: tuple[Cell, ...] = (
        name,
        "here",
        sum(each.fp),
        percent(each.fp, swim.fp),
        _span(each.fp, swim.fp),
        sum(each.fp_healthy),
        percent(each.fp_healthy, swim.fp_healthy),
        _span(each.fp_healthy, swim.fp_healthy),
        round(sum(outcome.packets for outcome in each.interval) / runs),
        sum(outcome.bytes for outcome in each.interval) / runs / 2**20,
        triple(each.first()),
        triple(each.everywhere()),
    )
    paper = PUBLISHED.get(name)
    if paper is None:
        return [here]
    there: tuple[Cell, ...] = (
        "",
        "paper",
        paper.fp,
        paper.fp_percent,
        None,
        paper.fp_healthy,
        paper.fp_healthy_percent,
        None,
        round(paper.packets / LIFEGUARD_RUNS),
        paper.gibibytes * 1024 / LIFEGUARD_RUNS,
        triple(paper.first),
        triple(paper.everywhere),
    )
    return [here, there]


def _span(part: Sequence[float], whole: Sequence[float]) -> str | None:
    bounds = interval(part, whole)
    return None if bounds is None else f"{bounds[0]:.1f}-{bounds[1]:.1f}"


def _tuning(by_values: dict[tuple[int, int], Sum], swim: Sum) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for alpha, beta in TUNING:
        each, paper = by_values[alpha, beta], TUNING[alpha, beta]
        median, base = each.first()[0], swim.first()[0]
        first = None if median is None or base is None else 100 * median / base
        here = (first, percent(each.fp, swim.fp), percent(each.fp_healthy, swim.fp_healthy))
        rows.append((f"{alpha}, {beta}", *(cell for pair in zip(here, paper, strict=True) for cell in pair)))
    return Table(
        "Lifeguard by alpha and beta, in % of SWIM",
        ("alpha, beta", "median first", "paper", "FP", "paper ", "FP-", "paper  "),
        tuple(rows),
    )
