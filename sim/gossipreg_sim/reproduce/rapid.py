"""Experiments of the Rapid paper (ATC 2018) that show unstable membership.

*Bootstrap*: many members start at once and join through one seed; how many different cluster sizes do they report?
*Flip-flop*: ten members alternate between receiving nothing for 20 s and everything for 20 s. *Loss*: one member in a
hundred receives one packet in five. Are such members removed, or do they flap?
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import attrs

from gossipreg.model import Status
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.conditions import FlipFlop, Links, Loss
from gossipreg_sim.network import Condition
from gossipreg_sim.process import Process
from gossipreg_sim.reproduce.experiment_cluster import ExperimentCluster
from gossipreg_sim.reproduce.parallel_runs import RunOptions, run_all
from gossipreg_sim.reproduce.profiles import MEMBERLIST, OURS, Profile
from gossipreg_sim.reproduce.published import RAPID_SIZES
from gossipreg_sim.reproduce.tables import Cell, Findings, Table
from gossipreg_sim.world import ns

_FLIPPING: Final = 10
_HALF: Final = 20.0  # seconds of receiving nothing, then of receiving everything
_LOSS: Final = 0.8
_JOIN_MOST: Final = 120.0  # time limit of a bootstrap (seconds)


@attrs.frozen
class Plan:
    """The extent of the experiments."""

    joiners: tuple[int, ...] = (1000, 1500, 2000)
    members: int = 1000
    seconds: float = 300.0


FULL: Final = Plan()
QUICK: Final = Plan(joiners=(100, 200), members=100, seconds=120.0)


@attrs.frozen
class Run:
    """One run of one of the three experiments."""

    what: Literal["bootstrap", "flip-flop", "loss"]
    profile: Profile
    members: int
    seconds: float
    seed: int


@attrs.frozen
class Bootstrap:
    """The result of a bootstrap."""

    sizes: int  # distinct sizes that members reported, sampled ten times a second
    seconds: float | None  # until all members saw all


@attrs.frozen
class Stability:
    """The result for members with bad links, and for the others."""

    bad: int
    removed: int  # bad members that all others believe failed at the end
    returns: int  # changes of another member's belief about a bad one from failed to alive
    collateral: int  # failures reported of members with good links
    observers: int


def run_one(run: Run) -> Bootstrap | Stability:
    """Execute one run."""
    if run.what == "bootstrap":
        return _bootstrap(run)
    bad = _FLIPPING if run.what == "flip-flop" else max(1, run.members // 100)
    return _bad_links(run, bad)


def _bootstrap(run: Run) -> Bootstrap:
    experiment = ExperimentCluster.empty(run.profile, run.seed)
    experiment.start("n0", seed="n0")
    experiment.run_for(1.0)
    for number in range(1, run.members):
        experiment.start(f"n{number}", seed="n0")
    sizes: set[int] = set()
    start = experiment.world.now
    while experiment.world.now - start < ns(run.seconds):
        experiment.run_for(0.1)
        now = {process.engine.members.present_count for process in experiment.cluster.alive}
        sizes |= now
        if now == {run.members}:
            return Bootstrap(len(sizes), experiment.seconds(experiment.world.now - start))
    return Bootstrap(len(sizes), None)


def _bad_links(run: Run, count: int) -> Stability:
    experiment = ExperimentCluster.of(run.profile, run.members, run.seed)
    bad = experiment.world.rng("bad").sample(experiment.names, count)
    good = [name for name in experiment.names if name not in bad]
    returns = 0

    def see(process: Process, output: Output) -> None:
        nonlocal returns
        if isinstance(output, MemberChanged) and output.before is not None and output.after is not None:
            back = output.before.status is Status.FAILED and output.after.status is Status.ALIVE
            returns += back and output.after.name in is_bad and process.name not in is_bad

    is_bad = frozenset(bad)
    experiment.cluster.observers.append(see)
    links = Links(frozenset(experiment.names), is_bad, both_ways=False)
    condition: Condition = (
        FlipFlop(links, _HALF, _HALF, experiment.world.now) if run.what == "flip-flop" else Loss(links, _LOSS)
    )
    experiment.cluster.network.begin(run.what, condition)
    experiment.run_for(run.seconds)
    believed = [[experiment.process(name).engine.members.get(each) for name in good] for each in bad]
    return Stability(
        bad=count,
        removed=sum(all(update is None or update.status is Status.FAILED for update in each) for each in believed),
        returns=returns,
        collateral=sum(failure.subject not in is_bad for failure in experiment.failures),
        observers=len(good),
    )


def _runs(plan: Plan, profiles: list[Profile], seed: int) -> Iterator[Run]:
    for profile in profiles:
        for joiners in plan.joiners:
            yield Run("bootstrap", profile, joiners, _JOIN_MOST, seed)
        yield Run("flip-flop", profile, plan.members, plan.seconds, seed)
        yield Run("loss", profile, plan.members, plan.seconds, seed)


def reproduce(plan: Plan, order: RunOptions) -> Findings:
    """Run the three experiments; the tables show the paper's values beside ours."""
    profiles = [MEMBERLIST, *([OURS] if order.ours else [])]
    runs = list(_runs(plan, profiles, order.seed))
    bootstraps: list[tuple[Cell, ...]] = []
    stabilities: list[tuple[Cell, ...]] = []
    for run, outcome in zip(runs, run_all(run_one, runs, order), strict=True):
        if isinstance(outcome, Bootstrap):
            theirs, rapid = RAPID_SIZES.get(run.members, (None, None))
            bootstraps.append((run.profile.name, run.members, outcome.sizes, outcome.seconds, theirs, rapid))
        else:
            returns = outcome.returns / outcome.bad / outcome.observers
            removed = f"{outcome.removed} of {outcome.bad}"
            stabilities.append((run.profile.name, run.what, run.members, removed, returns, outcome.collateral))
    return Findings(
        "rapid",
        order.command,
        (
            Table(
                "Rapid: members that join at once through one seed",
                ("protocol", "members", "sizes", "all see all after s", "memberlist in paper", "Rapid in paper"),
                tuple(bootstraps),
                "sizes: distinct sizes reported by all members, sampled ten times a second",
            ),
            Table(
                f"Rapid: members with bad links, for {plan.seconds:.0f} s",
                ("protocol", "fault", "members", "removed", "returns", "others failed"),
                tuple(stabilities),
                "flip-flop: 10 members receive nothing for 20 s, then everything for 20 s. loss: 1 % receive a fifth.\n"
                "removed: believed failed by all others at the end. returns: from failed to alive, per bad member and\n"
                "observer. The paper: memberlist never removes all with the first fault, nor the second for good.",
            ),
        ),
    )
