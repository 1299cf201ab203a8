"""Agreement of a cluster: whether all nodes believe the same, and within how long after the heal they must.

Who must agree is the *core*: all who live, but for those that a permanent fault keeps apart. Others may believe of
these what they hear. The bound is computed, not guessed; what each term waits for:

    one reconnect try (1.25 x its interval), or the longest wait between joins    to have met again
    + log2 n probes, the first as stretched as it can be, each next one less      to compare in pairs until all have
    + the settling time before a talk + the gap between talks                     to compare what gossip missed
    + the stream's patience                                                       a talk that the fault cut short
    + all rounds of gossip, twice                                                 a refutation, and what it reveals
    + the longest wait of one that kept being failed                              to say that it is back
    + if somebody stays dead: ten periods and the longest suspicion               to be found out after all

A live member needs no term for its suspicion: whoever hears it while suspecting it says so, and it answers. Nor does
one that is dead need a whole round of probes: that none of n members probes it in ten periods has odds of e^-10.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from gossipreg.model import Status
from gossipreg.policy import Maintenance
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault_timing import DEADLY, is_for_good
from gossipreg_sim.faults import chosen
from gossipreg_sim.process import Process
from gossipreg_sim.scenario import Scenario, Wiring
from gossipreg_sim.world import World

#: Periods after which somebody has surely probed a dead member.
_FOUND_PERIODS = 10


def heal_bound(scenario: Scenario) -> float:
    """Within how many seconds of the heal all in the core must agree."""
    settings = scenario.settings
    bound = (
        1.25 * max(settings.reconnect_interval, settings.join_retry_max)
        + _stretched_probes(settings, math.ceil(math.log2(max(2, scenario.nodes))))
        + settings.reconcile_settle
        + 1.25 * settings.reconcile_gap
        + settings.stream_patience
        + 2 * gossip_span(settings)
        + 20 * slowest_way(scenario.wiring, 2.0)
    )
    if any(fault.kind in DEADLY and is_for_good(fault) for fault in scenario.faults):
        shortest = settings.suspicion_alpha * max(1.0, math.log10(scenario.nodes)) * settings.probe_interval
        bound += _FOUND_PERIODS * settings.probe_interval + settings.suspicion_beta * shortest
    return bound


def _stretched_probes(settings: EngineSettings, count: int) -> float:
    """What so many probes take (seconds) of a node in the worst health that gets better with each."""
    return settings.probe_interval * sum(max(1, settings.local_health_max + 1 - number) for number in range(count))


def slowest_way(wiring: Wiring, deviations: float) -> float:
    """What a packet takes one way (seconds) when it is so many deviations slower than usual."""
    tail = math.exp(deviations * wiring.sigma) if wiring.kind == "lognormal" or wiring.between_zones else 1.0
    return max(wiring.seconds, wiring.between_zones) * tail + deviations * wiring.mean


def gossip_span(settings: EngineSettings) -> float:
    """How long after its birth a rumor has its last round (seconds)."""
    gaps = sum(settings.gossip_growth**number for number in range(settings.gossip_transmissions - 1))
    held_back = max(settings.gossip_coalesce, settings.gossip_coalesce_max)
    return held_back + settings.gossip_tree_gap * settings.gossip_tree + settings.gossip_gap * gaps


def longest_damping(processes: Iterable[Process]) -> float:
    """The longest that any of ``processes``, failed now, waits before it says that it is back (seconds)."""
    waits = []
    for process in processes:
        damping = process.engine.local_member.damping
        waits.append(damping.wait(process.now) if damping.unanswered is None else damping.suppress_until - process.now)
    return max(waits, default=0.0)


def kept_separated(scenario: Scenario, world: World) -> tuple[str, ...]:
    """The nodes outside the core: on the smaller side of each permanent fault; nobody, if it lies on all alike."""
    apart: dict[str, None] = {}
    for fault in scenario.faults:
        if not fault.permanent or fault.kind in DEADLY:
            continue
        rng = world.rng(f"fault {fault.name}")  # the very rng that the fault itself draws from
        nodes = chosen(fault.nodes, scenario, rng)
        others = [name for name in chosen(fault.to, scenario, rng) if name not in nodes]
        if len(nodes) < scenario.nodes:
            apart.update(dict.fromkeys(others if others and len(others) < len(nodes) else nodes))
    return tuple(apart)


@attrs.define
class Agreement:
    """A look at what all nodes of the core believe at one moment."""

    cluster: Cluster
    outside: tuple[str, ...] = ()

    @property
    def core(self) -> list[Process]:
        """The processes that must agree."""
        return [
            process
            for process in self.cluster.alive
            if process.name not in self.outside and not process.engine.identity.left
        ]

    def holds(self) -> bool:
        """Every core node alive for all; every offer of theirs, and no phantom, healthy for all; equal fingerprints.

        Fingerprints are compared only if nobody is kept apart: what is believed of such a one may never come to rest.
        What is known of policies must be the same all the same.
        """
        core = self.core
        if not self.outside and len({process.engine.fingerprint for process in core}) > 1:
            return False
        if self.outside and any(_words(process) != _words(core[0]) for process in core):
            return False
        offered = self.cluster.offered()
        truth = sorted(
            (process.name, id, instance.service)
            for process in core
            for id, instance in offered.get(process.name, {}).items()
        )
        return self.is_complete() and all(self._sees(process, truth) for process in core)

    def is_complete(self) -> bool:
        """Whether every core node is alive for all of them, and nobody else is."""
        core = self.core
        names = sorted(process.name for process in core)
        if len(core) == 1 and not core[0].engine.identity.announced:
            names = []  # it waits for one of its seeds, and has told nobody of itself
        return all(self._believed(process) == names for process in core)

    def _believed(self, process: Process) -> list[str]:
        """Whom a process believes alive, by name; nobody who is kept apart."""
        outside = self.outside
        return sorted(
            update.name
            for update in process.engine.members
            if update.status is Status.ALIVE and update.name not in outside
        )

    def _sees(self, process: Process, truth: list[tuple[str, str, str]]) -> bool:
        outside = self.outside
        views = process.engine.view.services.values()
        seen = [(i.owner, i.id, i.service) for view in views for i in view.healthy if i.owner not in outside]
        rule = process.engine.state.policies.rule
        truth = [each for each in truth if rule(f"{Maintenance.kind}:{each[2]}:{each[1]}") is None]
        return sorted(seen) == truth


def _words(process: Process) -> list[int]:
    """All that it knows of policies."""
    return [word.digest for word in process.engine.state.policies]
