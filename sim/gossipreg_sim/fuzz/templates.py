"""Templates of generated scenarios: some oracles apply only to runs that purely random faults hardly ever produce.

Without templates no member is ever forgotten (tombstones last a day), few hosts die in an otherwise healthy cluster,
few records are created before the first fault, and few members fail twice. A minority is seldom separated while nothing
else is wrong. Links that lose all packets but pass streams for long are rare. Clocks that are wrong from the start are
mixed with other wrong clocks. Few certificates are revoked. Each template gets a share of the seeds, so that every
oracle applies to at least a tenth of all runs (`gossipreg_sim.fuzz.sweep` counts them).
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import CERTIFICATES, Fault
from gossipreg_sim.oracles.half_open import StreamFallback
from gossipreg_sim.oracles.stay_in_lookups import APART
from gossipreg_sim.rng import Rng
from gossipreg_sim.scenario import Scenario

#: Short suspicions and fast recovery, so that a run covers both.
_FAST: Final = EngineSettings(
    suspicion_alpha=1.0, suspicion_beta=3.0, local_health_max=1, reconnect_interval=2.0, stream_patience=2.0
)


@attrs.frozen
class ScenarioTemplate:
    """No constraints: any faults, at any time."""

    share: ClassVar[float] = 0.0  # of all seeds

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002 -- another of its kind needs it
        """Return ``base`` with the settings that the template needs."""
        return base

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:  # noqa: ARG002 -- another of its kind needs it
        """Return the faults that the template needs; they are drawn before all others."""
        return []

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """Whether the scenario still fits the template with one more fault."""
        return True


@attrs.frozen
class ShortMemory(ScenarioTemplate):
    """A member dies for good, and is forgotten before the run ends."""

    share: ClassVar[float] = 0.12

    #: How long tombstones are kept (seconds): longer than the longest partition and the heal bound on a slow network.
    MEMORY: ClassVar[float] = 44.0
    SEPARATION: ClassVar[float] = 8.0

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002 -- another of its kind needs it
        """Run long enough for a tombstone to expire, with at least one node that is no seed."""
        settings = attrs.evolve(_FAST, remember_departed=self.MEMORY)
        return attrs.evolve(base, duration=70.0, seeds=max(1, min(base.seeds, base.nodes - 1)), settings=settings)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """A death or a departure of a node that is no seed, at the beginning."""
        mortal = base.node_names[base.seeds :]
        if not mortal:
            return []
        kind = ("crash", "crash-host", "leave")[rng.below(3)]
        return [Fault(kind=kind, at=rng.below(10) / 2, nodes=(mortal[rng.below(len(mortal))],))]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """No fault that outlasts what the retention time allows for."""
        return not fault.permanent and 0 < fault.lasts <= self.SEPARATION and fault.off <= self.SEPARATION


@attrs.frozen
class Deaths(ScenarioTemplate):
    """Hosts die one after another, and the surviving nodes are healthy."""

    share: ClassVar[float] = 0.12

    FAIR: ClassVar[tuple[str, ...]] = ("duplicate", "clock-skew", "crash-host")
    TURN: ClassVar[float] = 6.0  # seconds between deaths; each host is down for a second less

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002 -- another of its kind needs it
        """Run long enough for several deaths."""
        return attrs.evolve(base, duration=40.0)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """Enough deaths for a meaningful mean."""
        most = max(1, (base.nodes - 1) // 3)
        return [
            Fault(
                kind="crash-host",
                at=self.TURN * turn + rng.below(4) / 4,
                lasts=self.TURN - 1,
                nodes=tuple(rng.sample(base.node_names, 1 + rng.below(most))),
                disk=rng.chance(0.5),
            )
            for turn in range(int(base.duration / self.TURN))
        ]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """No fault that affects surviving nodes."""
        return fault.kind in self.FAIR and fault.kind != "crash-host"


@attrs.frozen
class CalmOpening(ScenarioTemplate):
    """Services change for a while before there is any fault but random packet loss."""

    share: ClassVar[float] = 0.14

    OPENING: ClassVar[float] = 14.0  # seconds
    MANY: ClassVar[int] = 8  # nodes needed by the dissemination oracle with packet loss

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Busy users."""
        workload = attrs.evolve(base.workload, churn=(4.0, 8.0)[rng.below(2)])
        return attrs.evolve(base, warmup=max(base.warmup, 3.0), duration=30.0, workload=workload)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """Sometimes packet loss from the start."""
        if base.nodes < self.MANY or rng.chance(0.5):
            return []
        return [Fault(kind="loss", probability=(0.02, 0.1, 0.3)[rng.below(3)])]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """No other fault before the opening is over."""
        return fault.kind != "loss" and fault.at >= self.OPENING


@attrs.frozen
class Flapping(ScenarioTemplate):
    """One node repeatedly receives nothing, so that it fails again and again."""

    share: ClassVar[float] = 0.12

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Run long enough for more than two failures; sometimes a suspicion needs no confirmation."""
        wanted = 0 if rng.chance(0.3) else EngineSettings().suspicion_confirmations
        settings = attrs.evolve(_FAST, damping_base=8.0, damping_max=16.0, suspicion_confirmations=wanted)
        return attrs.evolve(base, duration=40.0, settings=settings)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """The node receives nothing for eight of every twelve seconds."""
        victim = base.node_names[rng.below(base.nodes)]
        return [Fault(kind="flip-flop", to=(victim,), both_ways=False, off=8.0, on=4.0)]

    def allows(self, fault: Fault, base: Scenario) -> bool:
        """No fault that affects all nodes."""
        return "*" not in fault.nodes and len(fault.nodes) <= base.nodes // 3 and not fault.permanent


@attrs.frozen
class Minorities(ScenarioTemplate):
    """After an idle time, a minority is repeatedly separated or slow, and there are no other faults."""

    share: ClassVar[float] = 0.115

    TURN: ClassVar[float] = 24.0  # seconds between faults: long enough to check each heal
    LASTS: ClassVar[tuple[float, ...]] = (2.0, 6.0, 12.0)  # seconds; silent nodes fail after about five

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Idle at first, and long enough for one to three faults."""
        return attrs.evolve(base, warmup=12.0, duration=self.TURN * (1 + rng.below(3)))

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """One fault per turn, of the same nodes as before or of others."""
        most = max(1, (base.nodes - 1) // 2)
        few = tuple(rng.sample(base.node_names, 1 + rng.below(most)))
        faults = []
        for turn in range(int(base.duration / self.TURN)):
            if rng.chance(0.5):
                few = tuple(rng.sample(base.node_names, 1 + rng.below(most)))
            kind = APART[rng.below(len(APART))]
            lasts = self.LASTS[rng.below(len(self.LASTS))]
            faults.append(Fault(kind=kind, at=turn * self.TURN, lasts=lasts, nodes=few, **self._values(kind, rng)))
        return faults

    @staticmethod
    def _values(kind: str, rng: Rng) -> dict[str, Any]:
        match kind:
            case "cut":
                return {"both_ways": rng.chance(0.7)}
            case "flip-flop":
                return {
                    "both_ways": rng.chance(0.7),
                    "off": (1.0, 3.0)[rng.below(2)],
                    "on": (1.0, 3.0)[rng.below(2)],
                }
            case "slow":
                return {"seconds": (0.02, 0.1)[rng.below(2)]}
            case _:
                return {}

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """No other fault."""
        return False


@attrs.frozen
class PacketsLost(ScenarioTemplate):
    """Some links lose all packets but pass streams, for long, while services change."""

    share: ClassVar[float] = 0.115

    BEGINS: ClassVar[float] = 4.0  # seconds: the latest start
    MORE: ClassVar[float] = 15.0  # seconds in which new records can be followed to the end

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Idle at first; long enough to detect the affected paths, and then for records to reach all nodes."""
        workload = attrs.evolve(base.workload, churn=(0.5, 2.0)[rng.below(2)])
        needed = StreamFallback.known_after(base.nodes) + StreamFallback.bound_among(base.nodes)
        return attrs.evolve(base, warmup=12.0, duration=self.BEGINS + needed + self.MORE, workload=workload)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """One or two sets of links, until the heal."""
        faults = []
        for _ in range(1 + rng.below(2)):
            nodes = tuple(rng.sample(base.node_names, 1 + rng.below(base.nodes)))
            at = rng.below(2 * int(self.BEGINS)) / 2
            faults.append(Fault(kind="udp-only-loss", probability=1, at=at, nodes=nodes, both_ways=rng.chance(0.7)))
        return faults

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """No other fault."""
        return False


@attrs.frozen
class ClocksOff(ScenarioTemplate):
    """Some nodes of a sealed cluster start with a clock beyond the tolerance; all other clocks are right."""

    share: ClassVar[float] = 0.115

    OFF: ClassVar[tuple[float, ...]] = (40.0, -40.0, 90.0, -90.0, 3600.0, -3600.0)  # seconds

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002 -- another of its kind needs it
        """With a key: clocks are compared only in sealed clusters."""
        return attrs.evolve(base, sealed=True)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """At most half of the nodes, until some time or until the heal."""
        nodes = tuple(rng.sample(base.node_names, 1 + rng.below(max(1, base.nodes // 2))))
        seconds = self.OFF[rng.below(len(self.OFF))]
        at = rng.below(int(base.duration)) / 2
        return [Fault(kind="clock-skew-at-start", seconds=seconds, at=at, lasts=rng.below(20) / 2, nodes=nodes)]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """Any fault but clock faults."""
        return not fault.kind.startswith("clock")


@attrs.frozen
class Intruders(ScenarioTemplate):
    """A cluster that requires identity has an impostor, and a certificate is revoked, beside any other faults."""

    share: ClassVar[float] = 0.115

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """With identity, busy users, and at least one node that is no seed."""
        workload = attrs.evolve(base.workload, policies=max(base.workload.policies, (0.0, 0.5)[rng.below(2)]))
        return attrs.evolve(base, identity="require", seeds=max(1, min(base.seeds, base.nodes - 1)), workload=workload)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """An impostor of some kind until the heal, and a revocation of a node that is no seed."""
        victim = base.node_names[base.seeds :][rng.below(base.nodes - base.seeds)]
        certificate = CERTIFICATES[rng.below(len(CERTIFICATES))]
        lasts = (0.0, 8.0)[rng.below(2)] if base.nodes >= self.MANY else 8.0
        return [
            Fault(kind="impostor", certificate=certificate, every=(1.0, 0.3)[rng.below(2)]),
            Fault(kind="revoke", nodes=(victim,), at=rng.below(int(base.duration)) / 2, lasts=lasts),
        ]

    #: Nodes of a cluster that can do without one of them: a third may go for good.
    MANY: ClassVar[int] = 3

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002 -- another of its kind needs it
        """Any other fault that leaves the revoked node to the template."""
        return fault.kind != "revoke"


#: All templates, in drawing order.
TEMPLATES: Final = (
    ShortMemory(),
    Deaths(),
    CalmOpening(),
    Flapping(),
    Minorities(),
    PacketsLost(),
    ClocksOff(),
    Intruders(),
)


def template_of(rng: Rng) -> ScenarioTemplate:
    """Return the template from which a seed's scenario is generated."""
    chance = rng.random()
    for template in TEMPLATES:
        if chance < template.share:
            return template
        chance -= template.share
    return ScenarioTemplate()
