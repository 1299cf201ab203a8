"""Runner of a scenario: warm-up, faults, heal, quiet, and the outcome.

Safety must hold at every step. After the heal all must agree within a bound (`gossipreg_sim.heal_bound`). A run in
which messages multiply without end is stopped, and fails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

import attrs

from gossipreg.protocol.identity.authenticator import IdentityMode
from gossipreg_sim.agreement import Agreement
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.faults import Faults
from gossipreg_sim.heal_bound import heal_bound, longest_damping
from gossipreg_sim.healing import Heal, Watch
from gossipreg_sim.identities import Identities
from gossipreg_sim.network import Constant, Exponential, Latency, Lognormal, Regions
from gossipreg_sim.oracles.authority import Authority
from gossipreg_sim.oracles.border_relays import BorderRelays
from gossipreg_sim.oracles.bounds import Bounds
from gossipreg_sim.oracles.cell_ages import CellAges, SplitCost
from gossipreg_sim.oracles.cell_authority import CellAuthority, CellOrigin
from gossipreg_sim.oracles.damped_returns import DampedReturns
from gossipreg_sim.oracles.detection_quality import DetectionQuality, FalsePositives
from gossipreg_sim.oracles.dissemination_time import DisseminationTime
from gossipreg_sim.oracles.expelled import Expelled
from gossipreg_sim.oracles.half_open import HalfOpenJoins, StreamFallback
from gossipreg_sim.oracles.healing import Healing
from gossipreg_sim.oracles.idle import IdleLoad
from gossipreg_sim.oracles.last_writer_wins import LastWriterWins
from gossipreg_sim.oracles.member_claims import AnsweredAccusations, MemberClaims
from gossipreg_sim.oracles.message_storms import MessageStorm, events_cap
from gossipreg_sim.oracles.monotonic_beliefs import MonotonicBeliefs
from gossipreg_sim.oracles.oracle import Oracle, Violation
from gossipreg_sim.oracles.oracle_runner import OracleRunner
from gossipreg_sim.oracles.primaries import Primaries
from gossipreg_sim.oracles.probing import Completeness, FirstProbe
from gossipreg_sim.oracles.records import NoResurrection, SingleWriter
from gossipreg_sim.oracles.restarts import Restarts
from gossipreg_sim.oracles.run_context import RunContext
from gossipreg_sim.oracles.split_cell import SplitCell
from gossipreg_sim.oracles.stay_in_lookups import StayInLookups
from gossipreg_sim.oracles.suspicion_times import SuspicionTimes
from gossipreg_sim.oracles.tombstone_retention import TombstoneRetention
from gossipreg_sim.scenario import Scenario, Wiring
from gossipreg_sim.separation import separated_nodes
from gossipreg_sim.trace import Trace
from gossipreg_sim.users import Users
from gossipreg_sim.world import SECOND, RunawaySimulation, World, ns

#: How often the cluster is checked for liveness (ns).
_CHECK_GAP = ns(0.05)

#: How long an agreement must last to count (ns): messages in flight could undo it.
_HOLD = ns(3.0)

#: The oracles of every run, in the order of docs/simulator.md.
ORACLES: tuple[type[Oracle], ...] = (
    MonotonicBeliefs,
    SingleWriter,
    MemberClaims,
    NoResurrection,
    Authority,
    Expelled,
    LastWriterWins,
    Primaries,
    TombstoneRetention,
    AnsweredAccusations,
    DampedReturns,
    StayInLookups,
    Restarts,
    Bounds,
    MessageStorm,
    Completeness,
    FirstProbe,
    SuspicionTimes,
    FalsePositives,
    DisseminationTime,
    StreamFallback,
    HalfOpenJoins,
    Healing,
    IdleLoad,
    DetectionQuality,
)


#: Oracles whose laws are about one ring of all nodes.
_FLAT_ONLY: tuple[type[Oracle], ...] = (
    Authority,
    Expelled,
    StayInLookups,
    FirstProbe,
    FalsePositives,
    DisseminationTime,
    StreamFallback,
    IdleLoad,
    DetectionQuality,
)

#: The oracles of a run with several cells, besides.
CELL_ORACLES: tuple[type[Oracle], ...] = (CellAuthority, CellOrigin, CellAges, SplitCost, BorderRelays, SplitCell)


def oracles_of(scenario: Scenario) -> tuple[type[Oracle], ...]:
    """Return the oracles of a run of ``scenario``."""
    if scenario.cells == 1:
        return ORACLES
    return (*(oracle for oracle in ORACLES if oracle not in _FLAT_ONLY), *CELL_ORACLES)


@attrs.frozen
class Outcome:
    """The result of one run."""

    scenario: Scenario
    seed: int
    digest: str
    violations: tuple[Violation, ...]
    checks: dict[str, int]  # by oracle
    laws: dict[str, str]  # by oracle
    notes: dict[str, str]  # by oracle: what it measured, or why it did not apply; may be ""
    applied: dict[str, bool]  # by oracle: whether it applied to the run
    heals: tuple[Heal, ...]  # how long until all agreed, after each fault phase and last after the heal
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
        """The fault phases that did not heal within their bounds."""
        return tuple(heal for heal in self.heals if not heal.in_time)

    @property
    def is_good(self) -> bool:
        """Whether every oracle held, all healed in time, and every required mark was made."""
        return not self.late and not self.violations and not self.missing


def latency_of(wiring: Wiring, scenario: Scenario) -> Latency:
    """Return the latency that a scenario's wiring describes."""
    kinds: dict[str, Latency] = {
        "constant": Constant(wiring.seconds),
        "exponential": Exponential(wiring.seconds, wiring.mean),
        "lognormal": Lognormal(wiring.seconds, wiring.sigma),
    }
    inside = kinds[wiring.kind]
    if not wiring.between_zones:
        return inside
    return Regions(scenario.zone_of, inside, Lognormal(wiring.between_zones, wiring.sigma))


def run_scenario(scenario: Scenario, seed: int, *, attach: Callable[[Cluster], None] | None = None) -> Outcome:
    """Run ``scenario`` with the random streams of ``seed``.

    ``attach`` is called with the cluster before the run starts, to attach recorders or mutations.
    """
    run = _ScenarioRun(scenario, seed)
    if attach is not None:
        attach(run.cluster)
    try:
        return run.run()
    except Exception as error:
        error.add_note(f"in scenario {scenario.name}, seed {seed}, at {run.world.seconds:.6f} s")
        raise


@attrs.define
class _ScenarioRun:
    scenario: Scenario
    seed: int
    world: World = attrs.field(init=False)
    cluster: Cluster = attrs.field(init=False)
    context: RunContext = attrs.field(init=False)
    oracle_runner: OracleRunner = attrs.field(init=False)
    users: Users = attrs.field(init=False)
    watch: Watch = attrs.field(init=False)
    trace: Trace = attrs.field(factory=Trace)

    def __attrs_post_init__(self) -> None:
        scenario = self.scenario
        self.world = World(self.seed)
        key = self.world.rng("key").bits().to_bytes(8) * 4 if scenario.sealed else None
        self.cluster = Cluster(
            self.world, scenario.settings, latency_of(scenario.wiring, scenario), key, identities=self._identities()
        )
        self.cluster.bare = scenario.wire == "objects"
        self.context = RunContext(scenario, self.trace, separated_nodes(scenario, self.world))
        self.cluster.observers.append(self.trace.see)
        self.oracle_runner = OracleRunner.of(oracle(self.cluster, self.context) for oracle in oracles_of(scenario))
        self.oracle_runner.watch(self.cluster)
        self.users = Users(scenario, self.cluster)
        self.watch = Watch(scenario, Agreement(self.cluster, self.context.outside))

    def _identities(self) -> Identities | None:
        """The certificates of a cluster whose nodes ask for identity, at the start or later."""
        if not self.scenario.has_identity:
            return None
        return Identities(self.world, IdentityMode(self.scenario.identity))

    def run(self) -> Outcome:
        healed_in = None
        try:
            healed_in = self._run_phases()
        except RunawaySimulation:
            self.watch.close(None, self.context.bound)
            self.oracle_runner.stopped(events_cap(self.scenario))
        else:
            self.watch.close(healed_in, self.context.bound)
            self.context.healed_in, self.context.heals = healed_in, tuple(self.watch.heals)
            self.oracle_runner.finish()
        return self._outcome()

    def _run_phases(self) -> float | None:
        """Run all phases; return how long after the heal all agreed (seconds), or None if they did not."""
        scenario = self.scenario
        self._begin()
        start, heal = self.context.faults_at, self.context.heal_at
        faults = Faults(scenario, self.cluster, self.trace, heal)
        faults.plan(start)
        self.users.plan(start, heal)
        self._run(start)
        self.trace.note(self.world.now, "", "faults")
        self._run(heal)
        self.trace.note(self.world.now, "", "heal")
        self.context.suppression = longest_damping(self.cluster.alive)
        return self._wait_for_agreement(heal, min(scenario.quiet, 2 * heal_bound(scenario)) + self.context.suppression)

    def _run(self, until: int) -> None:
        """Run in steps of a second, each with a limit on its events."""
        cap = events_cap(self.scenario)
        while self.world.now < until:
            self.world.events_max = self.world.events + cap
            self._run_with_checks(min(until, self.world.now + SECOND))

    def _run_with_checks(self, until: int) -> None:
        """Run, and check the cluster whenever a check is due."""
        while self.watch.due <= until:
            self.world.run(max(self.world.now, self.watch.due))
            self.watch.check()
        self.world.run(until)

    def _outcome(self) -> Outcome:
        oracles = {type(oracle).__name__: oracle for oracle in self.oracle_runner.oracles}
        marks = marks_of(self.trace, self.cluster.tally)
        return Outcome(
            scenario=self.scenario,
            seed=self.seed,
            digest=self.trace.digest,
            violations=self.oracle_runner.violations,
            checks={name: oracle.checks for name, oracle in oracles.items()},
            laws={name: oracle.law for name, oracle in oracles.items()},
            notes={name: oracle.note for name, oracle in oracles.items()},
            applied={name: oracle.has_applied for name, oracle in oracles.items()},
            heals=tuple(self.watch.heals),
            bound=self.context.bound,
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
        seeds = scenario.node_names[: scenario.seeds * scenario.cells]
        for number, name in enumerate(scenario.node_names):
            when = 0 if scenario.together else ns(number * scenario.stagger)
            others = [seed for seed in seeds if seed != name]
            self.world.at(when, partial(self._start, name, others))

    def _start(self, name: str, seeds: list[str]) -> None:
        zone, cell = self.scenario.zone_of(name), self.scenario.cell_of(name)
        self.cluster.start(name, seeds=seeds, zone=zone, cell=cell)
        self.users.arrive(name)

    # Liveness

    def _wait_for_agreement(self, heal: int, most: float) -> float | None:
        """Return how long after the heal all agreed, and stayed so for `_HOLD` (seconds)."""
        agreement = Agreement(self.cluster, self.context.outside)
        since: int | None = None
        while since is None or self.world.now - since < _HOLD:
            if not agreement.holds():
                since = None
            elif since is None:
                since = self.world.now
            if since is None and self.world.now - heal > ns(most):
                return None
            self._run(self.world.now + _CHECK_GAP)
        self.trace.note(since, "", "agreement")
        return (since - heal) / SECOND


def marks_of(trace: Trace, counted: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return each mark with its count: statuses, fault actions, refutations, revivals, and what nodes ``counted``."""
    marks: Counter[str] = Counter({name: times for name, times in (counted or {}).items() if times})
    for step in trace.steps:
        marks[step.what] += 1
        was = step.detail.split(" ", 1)[0]
        if step.what == "alive" and was == "suspect":
            marks["refuted"] += 1
        if step.what == "alive" and was == "failed":
            marks["revived"] += 1
    return dict(sorted(marks.items()))
