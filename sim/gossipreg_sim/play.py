"""Knows how a scenario is played: warm-up, faults, heal, quiet; and what came of it.

Safety must hold at every step. After the heal all must agree within a bound (`gossipreg_sim.agreement`). A play in
which something feeds itself is stopped, and is wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import attrs

from gossipreg_sim.agreement import Agreement, heal_bound, kept_apart, longest_calm
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.faults import Faults
from gossipreg_sim.healing import Heal, Watch
from gossipreg_sim.network import Constant, Exponential, Latency, Lognormal, Regions
from gossipreg_sim.oracles.claims import Answers, Claims
from gossipreg_sim.oracles.half_open import HalfJoins, OverStreams
from gossipreg_sim.oracles.healing import Healing
from gossipreg_sim.oracles.idle import IdleLoad
from gossipreg_sim.oracles.jury import Jury
from gossipreg_sim.oracles.last_word import LastWord
from gossipreg_sim.oracles.limits import Bounds
from gossipreg_sim.oracles.memory import Memory
from gossipreg_sim.oracles.mistakes import FalsePositives, Quality
from gossipreg_sim.oracles.oracle import Oracle, Violation
from gossipreg_sim.oracles.primaries import Primaries
from gossipreg_sim.oracles.probing import Completeness, FirstProbe
from gossipreg_sim.oracles.ranks import Ranks
from gossipreg_sim.oracles.records import NoResurrection, SingleWriter
from gossipreg_sim.oracles.restarts import Restarts
from gossipreg_sim.oracles.returns import Returns
from gossipreg_sim.oracles.spreading import Spreading
from gossipreg_sim.oracles.stage import Stage
from gossipreg_sim.oracles.staying import Stays
from gossipreg_sim.oracles.storms import Storm, events_cap
from gossipreg_sim.oracles.suspicions import SuspicionTimes
from gossipreg_sim.scenario import Scenario, Wiring
from gossipreg_sim.trace import Trace
from gossipreg_sim.users import Users
from gossipreg_sim.world import SECOND, Endless, World, ns

#: How often the cluster is looked at for liveness (ns).
_LOOK = ns(0.05)

#: How long an agreement must last to be one (ns): what is still under way could undo it.
_HOLD = ns(3.0)

#: What judges every play, in the order of docs/simulator.md.
ORACLES: tuple[type[Oracle], ...] = (
    Ranks,
    SingleWriter,
    Claims,
    NoResurrection,
    LastWord,
    Primaries,
    Memory,
    Answers,
    Returns,
    Stays,
    Restarts,
    Bounds,
    Storm,
    Completeness,
    FirstProbe,
    SuspicionTimes,
    FalsePositives,
    Spreading,
    OverStreams,
    HalfJoins,
    Healing,
    IdleLoad,
    Quality,
)


@attrs.frozen
class Outcome:
    """What came of one play."""

    scenario: Scenario
    seed: int
    digest: str
    violations: tuple[Violation, ...]
    checks: dict[str, int]  # by oracle
    laws: dict[str, str]  # by oracle
    notes: dict[str, str]  # by oracle: what it measured, or why it did not judge; "" when there is nothing to say
    judged: dict[str, bool]  # by oracle: whether the play gave it occasion to judge
    heals: tuple[Heal, ...]  # after each spell of faults, and last after the heal, how long until all agreed
    bound: float  # seconds after the heal within which all had to agree
    missing: tuple[str, ...]  # marks that the scenario promises and the run did not make
    marks: dict[str, int]
    seconds: float  # virtual, from the start to the end
    events: int
    packets: int
    frames: int
    bytes: int
    trace: Trace = attrs.field(repr=False)

    @property
    def healed_in(self) -> float | None:
        """The longest time from the end of faults until all agreed (seconds); None if they do not agree at the end.

        It counts from the end of each fault, or of several that overlap, not only from the heal (`heals`).
        """
        if self.heals[-1].took is None:
            return None
        return max(heal.took for heal in self.heals if heal.took is not None)

    @property
    def late(self) -> tuple[Heal, ...]:
        """What did not heal within its bound."""
        return tuple(heal for heal in self.heals if not heal.in_time)

    @property
    def is_good(self) -> bool:
        """Whether everything held, and the run has shown what it is for."""
        return not self.late and not self.violations and not self.missing


def latency_of(wiring: Wiring, scenario: Scenario) -> Latency:
    """The latency that a scenario's wiring describes."""
    kinds: dict[str, Latency] = {
        "constant": Constant(wiring.seconds),
        "exponential": Exponential(wiring.seconds, wiring.mean),
        "lognormal": Lognormal(wiring.seconds, wiring.sigma),
    }
    inside = kinds[wiring.kind]
    if not wiring.between_zones:
        return inside
    return Regions(scenario.zone_of, inside, Lognormal(wiring.between_zones, wiring.sigma))


def play(scenario: Scenario, seed: int, *, attach: Callable[[Cluster], None] | None = None) -> Outcome:
    """Play ``scenario`` with the draws of ``seed``.

    ``attach`` is given the cluster before anything happens in it, to hook recorders, or planted mistakes, there.
    """
    plays = _Play(scenario, seed)
    if attach is not None:
        attach(plays.cluster)
    try:
        return plays.run()
    except Exception as error:
        error.add_note(f"in scenario {scenario.name}, seed {seed}, at {plays.world.seconds:.6f} s")
        raise


@attrs.define
class _Play:
    scenario: Scenario
    seed: int
    world: World = attrs.field(init=False)
    cluster: Cluster = attrs.field(init=False)
    stage: Stage = attrs.field(init=False)
    jury: Jury = attrs.field(init=False)
    users: Users = attrs.field(init=False)
    watch: Watch = attrs.field(init=False)
    trace: Trace = attrs.field(factory=Trace)

    def __attrs_post_init__(self) -> None:
        scenario = self.scenario
        self.world = World(self.seed)
        key = self.world.rng("key").bits().to_bytes(8) * 4 if scenario.sealed else None
        self.cluster = Cluster(self.world, scenario.settings, latency_of(scenario.wiring, scenario), key)
        self.cluster.bare = scenario.wire == "objects"
        self.stage = Stage(scenario, self.trace, kept_apart(scenario, self.world))
        self.cluster.observers.append(self.trace.see)
        self.jury = Jury.of(oracle(self.cluster, self.stage) for oracle in ORACLES)
        self.jury.watch(self.cluster)
        self.users = Users(scenario, self.cluster)
        self.watch = Watch(scenario, Agreement(self.cluster, self.stage.outside))

    def run(self) -> Outcome:
        healed_in = None
        try:
            healed_in = self._acts()
        except Endless:
            self.watch.close(None, self.stage.bound)
            self.jury.stopped(events_cap(self.scenario))
        else:
            self.watch.close(healed_in, self.stage.bound)
            self.stage.healed_in, self.stage.heals = healed_in, tuple(self.watch.heals)
            self.jury.finish()
        return self._outcome()

    def _acts(self) -> float | None:
        """Play all acts; returns how long after the heal all agreed (seconds), or None if they did not."""
        scenario = self.scenario
        self._begin()
        start, heal = self.stage.faults_at, self.stage.heal_at
        faults = Faults(scenario, self.cluster, self.trace, heal)
        faults.plan(start)
        self.users.plan(start, heal)
        self._run(start)
        self.trace.note(self.world.now, "", "faults")
        self._run(heal)
        self.trace.note(self.world.now, "", "heal")
        self.stage.penance = longest_calm(self.cluster.alive)
        return self._wait_for_agreement(heal, min(scenario.quiet, 2 * heal_bound(scenario)) + self.stage.penance)

    def _run(self, until: int) -> None:
        """Run on, a second at a time, each with as many events as it may have."""
        cap = events_cap(self.scenario)
        while self.world.now < until:
            self.world.events_max = self.world.events + cap
            self._run_looking(min(until, self.world.now + SECOND))

    def _run_looking(self, until: int) -> None:
        """Run on, and look whenever the cluster is to be looked at."""
        while self.watch.due <= until:
            self.world.run(max(self.world.now, self.watch.due))
            self.watch.look()
        self.world.run(until)

    def _outcome(self) -> Outcome:
        oracles = {type(oracle).__name__: oracle for oracle in self.jury.oracles}
        marks = marks_of(self.trace, self.cluster.tally)
        return Outcome(
            scenario=self.scenario,
            seed=self.seed,
            digest=self.trace.digest,
            violations=self.jury.violations,
            checks={name: oracle.checks for name, oracle in oracles.items()},
            laws={name: oracle.law for name, oracle in oracles.items()},
            notes={name: oracle.note for name, oracle in oracles.items()},
            judged={name: oracle.has_judged for name, oracle in oracles.items()},
            heals=tuple(self.watch.heals),
            bound=self.stage.bound,
            missing=tuple(mark for mark in self.scenario.sometimes if mark not in marks),
            marks=marks,
            events=self.world.events,
            seconds=self.world.seconds,
            packets=self.cluster.counters["packets"],
            frames=self.cluster.counters["frames"],
            bytes=self.cluster.counters["bytes"],
            trace=self.trace,
        )

    def _begin(self) -> None:
        scenario = self.scenario
        seeds = scenario.node_names[: scenario.seeds]
        for number, name in enumerate(scenario.node_names):
            when = 0 if scenario.together else ns(number * scenario.stagger)
            others = [seed for seed in seeds if seed != name]
            self.world.at(when, partial(self._start, name, others))

    def _start(self, name: str, seeds: list[str]) -> None:
        self.cluster.start(name, seeds=seeds, zone=self.scenario.zone_of(name))
        self.users.arrive(name)

    # Liveness

    def _wait_for_agreement(self, heal: int, most: float) -> float | None:
        """How long after the heal all agreed, and went on to agree for a while (seconds)."""
        agreement = Agreement(self.cluster, self.stage.outside)
        since: int | None = None
        while since is None or self.world.now - since < _HOLD:
            if not agreement.holds():
                since = None
            elif since is None:
                since = self.world.now
            if since is None and self.world.now - heal > ns(most):
                return None
            self._run(self.world.now + _LOOK)
        self.trace.note(since, "", "agreement")
        return (since - heal) / SECOND


def marks_of(trace: Trace, counted: Mapping[str, int] | None = None) -> dict[str, int]:
    """What happened, and how often: statuses, acts of fault, refutations, revivals, and what nodes ``counted``."""
    marks: Counter[str] = Counter({name: times for name, times in (counted or {}).items() if times})
    for step in trace.steps:
        marks[step.what] += 1
        was = step.detail.split(" ", 1)[0]
        if step.what == "alive" and was == "suspect":
            marks["refuted"] += 1
        if step.what == "alive" and was == "failed":
            marks["revived"] += 1
    return dict(sorted(marks.items()))
