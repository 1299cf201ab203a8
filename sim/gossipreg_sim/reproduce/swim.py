"""Experiments of the SWIM paper (DSN 2002): load, first detection, and joins under packet loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

import attrs

from gossipreg.model import Status
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.conditions import Links, Loss
from gossipreg_sim.process import Process
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.reproduce.parallel_runs import RunOptions, run_all
from gossipreg_sim.reproduce.profiles import OURS, SWIM, SWIM_WITHOUT_SUSPICION, Profile
from gossipreg_sim.reproduce.published import SWIM_FIRST, SWIM_LOAD, SWIM_STABLE
from gossipreg_sim.reproduce.statistics import mean, quantile
from gossipreg_sim.reproduce.tables import Cell, Findings, Table
from gossipreg_sim.world import ns

_LOSS: Final = 0.1
_JOINERS: Final = 17


@attrs.frozen
class Plan:
    """The extent of the experiments."""

    sizes: tuple[int, ...] = (8, 16, 24, 32, 40, 48, 55)
    periods: int = 40
    crashes: int = 100
    joins: int = 10
    watched: float = 300.0  # seconds after the last join


FULL: Final = Plan()
QUICK: Final = Plan(sizes=(8, 16, 32, 55), crashes=30, joins=3, watched=120.0)


@attrs.frozen
class Run:
    """One run of one of the three experiments."""

    what: Literal["load", "first", "joins"]
    profile: Profile
    members: int
    seconds: float
    seed: int


def run_one(run: Run) -> float:
    """Execute one run: messages sent per member and period; periods to the first suspicion; members never failed."""
    return {"load": _load, "first": _first, "joins": _joins}[run.what](run)


def _load(run: Run) -> float:
    experiment = ExperimentCluster.of(run.profile, run.members, run.seed, quiet=20.0)
    before = experiment.packets
    experiment.run_for(run.seconds)
    return (experiment.packets - before) / run.members / run.seconds * run.profile.settings.probe_interval


def _first(run: Run) -> float:
    experiment = ExperimentCluster.of(run.profile, run.members, run.seed)
    experiment.run_for(experiment.world.rng("crash").random())
    crashed = experiment.names[0]
    start, suspected = experiment.world.now, []

    def see(_process: Process, output: Output) -> None:
        after = output.after if isinstance(output, MemberChanged) else None
        if after is not None and after.name == crashed and after.status is not Status.ALIVE:
            suspected.append(experiment.world.now)

    experiment.cluster.observers.append(see)
    experiment.cluster.crash(crashed, host=True)
    while not suspected and experiment.world.now - start < ns(run.seconds):
        experiment.run_for(0.1)
    return experiment.seconds(suspected[0] - start) / run.profile.settings.probe_interval if suspected else math.inf


def _joins(run: Run) -> float:
    """Members join one after another, and lose packets from the start."""
    experiment = ExperimentCluster.empty(run.profile, run.seed)
    names = [f"n{number}" for number in range(run.members)]
    experiment.cluster.network.begin("loss", Loss(Links(names, names), _LOSS))
    for name in names:
        experiment.start(name, seed=names[0])
        experiment.run_for(1.0)
    experiment.run_for(run.seconds)
    return len(set(names) - {failure.subject for failure in experiment.failures})


def _runs(plan: Plan, profiles: list[Profile], seed: int) -> Iterator[Run]:
    for profile in profiles:
        for members in plan.sizes:
            yield Run("load", profile, members, plan.periods, seed)
            yield from (Run("first", profile, members, 60.0, seed + each) for each in range(plan.crashes))
    for profile in (*profiles, SWIM_WITHOUT_SUSPICION):
        yield from (Run("joins", profile, _JOINERS, plan.watched, seed + each) for each in range(plan.joins))


def reproduce(plan: Plan, order: RunOptions) -> Findings:
    """Run the three experiments; the tables show the paper's values beside ours."""
    profiles = [SWIM, *([OURS] if order.ours else [])]
    runs = list(_runs(plan, profiles, order.seed))
    made = list(zip(runs, run_all(run_one, runs, order), strict=True))

    def values(what: str, profile: Profile, members: int) -> list[float]:
        return [value for run, value in made if (run.what, run.profile, run.members) == (what, profile, members)]

    steady: list[tuple[Cell, ...]] = []
    for profile in profiles:
        for members in plan.sizes:
            first = values("first", profile, members)
            steady.append(
                (
                    profile.name,
                    members,
                    mean(values("load", profile, members)),
                    SWIM_LOAD,
                    mean(first),
                    quantile(first, 0.025),
                    quantile(first, 0.975),
                    SWIM_FIRST,
                )
            )
    joins: list[tuple[Cell, ...]] = []
    for profile in (SWIM, SWIM_WITHOUT_SUSPICION, *profiles[1:]):
        stable = values("joins", profile, _JOINERS)
        joins.append((profile.name, mean(stable), min(stable), max(stable), SWIM_STABLE.get(profile.name)))
    return Findings(
        "swim",
        order.command,
        (
            Table(
                "SWIM: load and first detection, in periods",
                ("protocol", "members", "messages", "paper", "first", "2.5 %", "97.5 %", "paper "),
                tuple(steady),
                "messages: sent per member and period. first: from the crash to the end of the first probe that\n"
                "failed; the paper's 1.58 counts whole periods.",
            ),
            Table(
                f"SWIM: {_JOINERS} joins under {_LOSS:.0%} loss: members that were never declared failed",
                ("protocol", "mean", "least", "most", "paper"),
                tuple(joins),
                f"observed for {plan.watched:.0f} s after the last join",
            ),
        ),
    )
