"""Knows how a scenario is played: warm-up, faults, heal, quiet; and what came of it.

Safety must hold at every step. After the heal liveness must hold within a bound that is computed, not guessed:

    one reconnect try (1.25 x its interval) or the longest wait between joins
    + the settling time before a talk + the gap between talks + the stream's patience (a talk cut short by the fault)
    + the longest suspicion under way + two rounds of probes + dissemination
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from functools import partial

import attrs

from gossipreg.config import Settings
from gossipreg.model import Instance, Status
from sim.cluster import Cluster
from sim.faults import Faults
from sim.network import Constant, Exponential, Latency, Lognormal, Regions
from sim.oracles.limits import Bounds
from sim.oracles.oracle import Oracle, Violation
from sim.oracles.ranks import Ranks
from sim.oracles.records import NoResurrection, SingleWriter
from sim.process import Process
from sim.scenario import Scenario, Wiring
from sim.trace import Trace
from sim.world import SECOND, World, ns

#: How often the cluster is looked at for liveness (ns).
_LOOK = ns(0.05)

#: How long an agreement must last to be one (ns): what is still under way could undo it.
_HOLD = ns(3.0)

ORACLES: tuple[type[Oracle], ...] = (Ranks, SingleWriter, NoResurrection, Bounds)


@attrs.frozen
class Outcome:
    """What came of one play."""

    scenario: Scenario
    seed: int
    digest: str
    violations: tuple[Violation, ...]
    checks: dict[str, int]  # by oracle
    laws: dict[str, str]  # by oracle
    healed_in: float | None  # seconds after the heal until all agreed; None when they never did
    bound: float  # seconds within which they had to
    missing: tuple[str, ...]  # marks that the scenario promises and the run did not make
    marks: dict[str, int]
    seconds: float  # virtual, from the start to the end
    events: int
    packets: int
    frames: int
    bytes: int
    trace: Trace = attrs.field(repr=False)

    @property
    def is_good(self) -> bool:
        """Whether everything held, and the run has shown what it is for."""
        healed = self.healed_in is not None and self.healed_in <= self.bound
        return healed and not self.violations and not self.missing


def heal_bound(settings: Settings, nodes: int) -> float:
    """Within how many seconds of the heal all must agree."""
    suspicion = settings.suspicion_alpha * max(1.0, math.log10(max(1, nodes))) * settings.probe_interval
    spreading: float = 2 * settings.gossip_gap * 2**settings.gossip_rounds
    period = settings.probe_interval * (settings.local_health_max + 1)
    return (
        1.25 * max(settings.reconnect_interval, settings.join_retry_max)
        + settings.reconcile_settle
        + 1.25 * settings.reconcile_gap
        + settings.stream_patience
        + suspicion * settings.suspicion_beta
        + 2 * period
        + spreading
    )


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


def play(scenario: Scenario, seed: int) -> Outcome:
    """Play ``scenario`` with the dice of ``seed``."""
    plays = _Play(scenario, seed)
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
    trace: Trace = attrs.field(factory=Trace)
    oracles: list[Oracle] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        scenario = self.scenario
        self.world = World(self.seed)
        key = self.world.dice("key").bits().to_bytes(8) * 4 if scenario.sealed else None
        self.cluster = Cluster(self.world, scenario.settings, latency_of(scenario.wiring, scenario), key, scenario.name)
        self.oracles = [oracle(self.cluster) for oracle in ORACLES]
        self.cluster.observers += [self.trace.see, *(oracle.see for oracle in self.oracles)]
        self.cluster.touched += [oracle.after for oracle in self.oracles]

    def run(self) -> Outcome:
        scenario = self.scenario
        self._begin()
        start = ns(scenario.warmup)
        heal = start + ns(scenario.duration)
        faults = Faults(scenario, self.cluster, self.trace, heal)
        faults.plan(start)
        self._plan_churn(start, heal)
        self.world.run(start)
        self.trace.note(self.world.now, "", "faults")
        self.world.run(heal)
        self.trace.note(self.world.now, "", "heal")
        bound = heal_bound(scenario.settings, scenario.nodes)
        healed_in = self._wait_for_agreement(heal, min(scenario.quiet, 2 * bound))
        for oracle in self.oracles:
            oracle.finish()
        marks = marks_of(self.trace, self.cluster.tally)
        return Outcome(
            scenario=scenario,
            seed=self.seed,
            digest=self.trace.digest,
            violations=tuple(violation for oracle in self.oracles for violation in oracle.violations),
            checks={type(oracle).__name__: oracle.checks for oracle in self.oracles},
            laws={type(oracle).__name__: oracle.law for oracle in self.oracles},
            healed_in=healed_in,
            bound=bound,
            missing=tuple(mark for mark in scenario.sometimes if mark not in marks),
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
        for number in range(self.scenario.workload.instances):
            self.cluster.register(name, self._instance(name, number))

    def _instance(self, name: str, number: int) -> Instance:
        return Instance(
            id=f"service-{number % 3}-{name}-{number}",
            service=f"service-{number % 3}",
            host=str(self.cluster.processes[name].address.host),
            port=1024 + number,
            zone=self.scenario.zone_of(name),
        )

    def _plan_churn(self, start: int, heal: int) -> None:
        rate = self.scenario.workload.churn
        if rate <= 0:
            return
        dice = self.world.dice("users")
        at = start
        number = self.scenario.workload.instances
        while (at := at + ns(dice.exponential(1 / rate))) < heal:
            number += 1
            name = self.scenario.node_names[dice.below(self.scenario.nodes)]
            self.world.at(at, partial(self._change, name, number, new=dice.chance(0.6)))

    def _change(self, name: str, number: int, *, new: bool) -> None:
        process = self.cluster.living(name)
        if process is None or process.frozen or process.engine.identity.left:
            return
        own = self.cluster.offered().get(name, {})
        if new or not own:
            self.cluster.register(name, self._instance(name, number))
        else:
            self.cluster.deregister(name, next(iter(own)))

    # Liveness

    def _wait_for_agreement(self, heal: int, most: float) -> float | None:
        """How long after the heal all agreed, and went on to agree for a while (seconds)."""
        since: int | None = None
        while since is None or self.world.now - since < _HOLD:
            if not self._all_agree():
                since = None
            elif since is None:
                since = self.world.now
            if since is None and self.world.now - heal > ns(most):
                return None
            self.world.run(self.world.now + _LOOK)
        self.trace.note(since, "", "agreement")
        return (since - heal) / SECOND

    def _all_agree(self) -> bool:
        """Equal fingerprints; every live node alive for all; every live offer, and nothing else, healthy for all."""
        alive = [process for process in self.cluster.alive if not process.engine.identity.left]
        if len({process.engine.fingerprint for process in alive}) > 1:
            return False
        truth = sorted(key for name, own in self.cluster.offered().items() for key in ((name, i) for i in own))
        names = [process.name for process in alive]
        return all(self._sees_truth(process, names, truth) for process in alive)

    def _sees_truth(self, process: Process, names: list[str], truth: list[tuple[str, str]]) -> bool:
        members = process.engine.members
        believed = [rumor.name for rumor in members if rumor.status is Status.ALIVE]
        views = process.engine.view.services.values()
        seen = sorted((instance.owner, instance.id) for view in views for instance in view.healthy)
        return sorted(believed) == sorted(names) and seen == truth


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
