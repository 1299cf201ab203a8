"""Agreement of a cluster: whether all nodes hold the same state, and how soon after the heal they must.

The *core* must agree: all live nodes except those that a permanent fault separates. What the core believes about the
separated nodes is not checked. The bound is computed from the settings. Its terms, and what each one waits for:

    one reconnect attempt (1.25 x its interval), or the longest join backoff      to regain contact
    + log2 n probes; the first at the worst local health, then each a step better to compare states in pairs
    + the settling time before a sync session + the gap between sessions          to fetch what gossip missed
    + the stream timeout                                                          a session that a fault interrupted
    + all gossip transmissions, twice                                             a refutation, and what follows it
    + the longest flap-damping wait of a member                                   to announce that it is back
    + if a member stays dead: ten periods and the longest suspicion               to be detected

The bound needs no term for the suspicion of a live member: a node that receives a message from a member it suspects
notifies that member, which refutes. A dead member needs no whole round of probes: the probability that none of n
members probes it in ten periods is e^-10.
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

#: Periods after which some node has almost certainly probed a dead member.
_FOUND_PERIODS = 10


def heal_bound(scenario: Scenario) -> float:
    """Return the time after the heal within which the whole core must agree (seconds)."""
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
    """Return the duration of ``count`` probes (seconds) that start at the worst local health and improve after each."""
    return settings.probe_interval * sum(max(1, settings.local_health_max + 1 - number) for number in range(count))


def slowest_way(wiring: Wiring, deviations: float) -> float:
    """Return the one-way time of a packet (seconds) that is ``deviations`` standard deviations slower than usual."""
    tail = math.exp(deviations * wiring.sigma) if wiring.kind == "lognormal" or wiring.between_zones else 1.0
    return max(wiring.seconds, wiring.between_zones) * tail + deviations * wiring.mean


def gossip_span(settings: EngineSettings) -> float:
    """Return the time from the creation of an update to its last transmission (seconds)."""
    gaps = sum(settings.gossip_growth**number for number in range(settings.gossip_transmissions - 1))
    held_back = max(settings.gossip_coalesce, settings.gossip_coalesce_max)
    return held_back + settings.gossip_tree_gap * settings.gossip_tree + settings.gossip_gap * gaps


def longest_damping(processes: Iterable[Process]) -> float:
    """Return the longest flap-damping wait of any of ``processes`` if it failed now (seconds)."""
    waits = []
    for process in processes:
        damping = process.engine.local_member.damping
        waits.append(damping.wait(process.now) if damping.unanswered is None else damping.suppress_until - process.now)
    return max(waits, default=0.0)


def separated_nodes(scenario: Scenario, world: World) -> tuple[str, ...]:
    """Return the nodes outside the core: the smaller side of each permanent fault, unless it affects all nodes."""
    apart: dict[str, None] = {}
    for fault in scenario.faults:
        if not fault.permanent or fault.kind in DEADLY:
            continue
        rng = world.rng(f"fault {fault.name}")  # the same stream that the fault itself draws from
        nodes = chosen(fault.nodes, scenario, rng)
        others = [name for name in chosen(fault.to, scenario, rng) if name not in nodes]
        if len(nodes) < scenario.nodes:
            apart.update(dict.fromkeys(others if others and len(others) < len(nodes) else nodes))
    return tuple(apart)


@attrs.define
class Agreement:
    """Whether all nodes of the core agree at the present moment."""

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
        """Whether all see the core alive and exactly the offered instances healthy, and have equal fingerprints.

        Fingerprints are compared only if no node is separated: beliefs about a separated node may never settle.
        The policies must be equal in any case.
        """
        core = self.core
        if not self.outside and len({process.engine.fingerprint for process in core}) > 1:
            return False
        if self.outside and any(_policy_digests(process) != _policy_digests(core[0]) for process in core):
            return False
        offered = self.cluster.offered()
        truth = sorted(
            (process.name, id, instance.service)
            for process in core
            for id, instance in offered.get(process.name, {}).items()
        )
        return self.is_complete() and all(self._sees(process, truth) for process in core)

    def is_complete(self) -> bool:
        """Whether each core node believes exactly the core nodes alive."""
        core = self.core
        names = sorted(process.name for process in core)
        if len(core) == 1 and not core[0].engine.identity.announced:
            names = []  # it waits for a seed and has not announced itself
        return all(self._believed(process) == names for process in core)

    def _believed(self, process: Process) -> list[str]:
        """Return the names that a process believes alive, without the separated nodes."""
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


def _policy_digests(process: Process) -> list[int]:
    """Return the digest of each policy version that the node holds."""
    return [version.digest for version in process.engine.state.policies]
