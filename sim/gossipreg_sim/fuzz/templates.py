"""Templates of generated scenarios: some laws can only be judged after more than faults drawn at random bring about.

Without these templates no member is ever forgotten (a memory lasts a day), few hosts die in a cluster in which nothing
else is wrong, few records are born before the first fault, and hardly anybody is failed twice. A minority is seldom
kept apart while nothing else is wrong. All packets of a link are hardly ever lost for long while its streams pass.
Clocks that are off from the start are mixed with other wrong clocks. A share of the seeds is drawn for each, so that
every oracle judges in a tenth of all runs and more (`gossipreg_sim.fuzz.sweep` counts).
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.half_open import StreamFallback
from gossipreg_sim.oracles.stay_in_lookups import APART
from gossipreg_sim.rng import Rng
from gossipreg_sim.scenario import Scenario

#: Quick to suspect, to fail and to mend, so that all of it fits in a run.
_HASTY: Final = EngineSettings(
    suspicion_alpha=1.0, suspicion_beta=3.0, local_health_max=1, reconnect_interval=2.0, stream_patience=2.0
)


@attrs.frozen
class ScenarioTemplate:
    """None in particular: any faults, at any time."""

    share: ClassVar[float] = 0.0  # of all seeds

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002
        """``stage`` as it must be."""
        return base

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:  # noqa: ARG002
        """The faults that it needs; they are drawn before all others."""
        return []

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Whether one more fault leaves the scenario true to the template."""
        return True


@attrs.frozen
class ShortMemory(ScenarioTemplate):
    """Somebody dies for good, and is forgotten before the run is over."""

    share: ClassVar[float] = 0.13

    #: The memory (seconds): longer than the longest parting and the heal bound on a slow network.
    MEMORY: ClassVar[float] = 44.0
    PARTING: ClassVar[float] = 8.0

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002
        """Long enough for a memory to end, and one node that is no seed."""
        settings = attrs.evolve(_HASTY, remember_departed=self.MEMORY)
        return attrs.evolve(base, duration=70.0, seeds=max(1, min(base.seeds, base.nodes - 1)), settings=settings)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """A death or a departure at the beginning, but not of a seed."""
        mortal = base.node_names[base.seeds :]
        if not mortal:
            return []
        kind = ("crash", "crash-host", "leave")[rng.below(3)]
        return [Fault(kind=kind, at=rng.below(10) / 2, nodes=(mortal[rng.below(len(mortal))],))]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Nothing for longer than what the memory allows for."""
        return not fault.permanent and 0 < fault.lasts <= self.PARTING and fault.off <= self.PARTING


@attrs.frozen
class Deaths(ScenarioTemplate):
    """Hosts die one after the other, and nothing is wrong with those that live."""

    share: ClassVar[float] = 0.13

    FAIR: ClassVar[tuple[str, ...]] = ("duplicate", "clock-skew", "crash-host")
    TURN: ClassVar[float] = 6.0  # seconds from one death to the next; each lasts a second less

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002
        """Long enough for some deaths, and one more life than seeds."""
        return attrs.evolve(base, duration=40.0)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """So many deaths that a mean says something."""
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

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Nothing that disturbs who lives."""
        return fault.kind in self.FAIR and fault.kind != "crash-host"


@attrs.frozen
class CalmOpening(ScenarioTemplate):
    """Services come and go for a while before anything is worse than packets that are lost at random."""

    share: ClassVar[float] = 0.15

    OPENING: ClassVar[float] = 14.0  # seconds
    MANY: ClassVar[int] = 8  # nodes from which on the curve holds with losses

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Users who are busy."""
        workload = attrs.evolve(base.workload, churn=(4.0, 8.0)[rng.below(2)])
        return attrs.evolve(base, warmup=max(base.warmup, 3.0), duration=30.0, workload=workload)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """Losses from the start, now and then."""
        if base.nodes < self.MANY or rng.chance(0.5):
            return []
        return [Fault(kind="loss", probability=(0.02, 0.1, 0.3)[rng.below(3)])]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Nothing else before the opening is over."""
        return fault.kind != "loss" and fault.at >= self.OPENING


@attrs.frozen
class Flapping(ScenarioTemplate):
    """What is sent to one of them is lost over and over, so that it is failed again and again."""

    share: ClassVar[float] = 0.13

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Long enough to be failed more than twice; now and then one voice is enough for a suspicion."""
        wanted = 0 if rng.chance(0.3) else EngineSettings().suspicion_confirmations
        settings = attrs.evolve(_HASTY, damping_base=8.0, damping_max=16.0, suspicion_confirmations=wanted)
        return attrs.evolve(base, duration=40.0, settings=settings)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """It hears nothing for eight seconds of twelve."""
        victim = base.node_names[rng.below(base.nodes)]
        return [Fault(kind="flip-flop", to=(victim,), both_ways=False, off=8.0, on=4.0)]

    def allows(self, fault: Fault, base: Scenario) -> bool:
        """Nothing that is wrong with all."""
        return "*" not in fault.nodes and len(fault.nodes) <= base.nodes // 3 and not fault.permanent


@attrs.frozen
class Minorities(ScenarioTemplate):
    """After a calm while, a minority is kept apart, or slow, again and again, and nothing else is wrong."""

    share: ClassVar[float] = 0.12

    TURN: ClassVar[float] = 24.0  # seconds from one to the next: a heal, and what comes after it, can be judged
    LASTS: ClassVar[tuple[float, ...]] = (2.0, 6.0, 12.0)  # seconds; those that are silent are failed after about five

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Idle at first, and long enough for one to three."""
        return attrs.evolve(base, warmup=12.0, duration=self.TURN * (1 + rng.below(3)))

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """Each turn some of them, the same ones again or others."""
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

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Nothing else."""
        return False


@attrs.frozen
class PacketsLost(ScenarioTemplate):
    """On some links all packets are lost and streams pass, for long, while services come and go."""

    share: ClassVar[float] = 0.12

    BEGINS: ClassVar[float] = 4.0  # seconds: the latest
    MORE: ClassVar[float] = 15.0  # seconds in which records can be born that are followed to the end

    def base(self, base: Scenario, rng: Rng) -> Scenario:
        """Idle at first; long enough for paths to be found out, and for records to get everywhere after that."""
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

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Nothing else."""
        return False


@attrs.frozen
class ClocksOff(ScenarioTemplate):
    """Some nodes of a sealed cluster start with a clock that is off by more than allowed; no other clock is wrong."""

    share: ClassVar[float] = 0.12

    OFF: ClassVar[tuple[float, ...]] = (40.0, -40.0, 90.0, -90.0, 3600.0, -3600.0)  # seconds

    def base(self, base: Scenario, rng: Rng) -> Scenario:  # noqa: ARG002
        """With a key: without one clocks are not compared."""
        return attrs.evolve(base, sealed=True)

    def faults(self, base: Scenario, rng: Rng) -> list[Fault]:
        """At most half of them, until some time or until the heal."""
        nodes = tuple(rng.sample(base.node_names, 1 + rng.below(max(1, base.nodes // 2))))
        seconds = self.OFF[rng.below(len(self.OFF))]
        at = rng.below(int(base.duration)) / 2
        return [Fault(kind="clock-skew-at-start", seconds=seconds, at=at, lasts=rng.below(20) / 2, nodes=nodes)]

    def allows(self, fault: Fault, base: Scenario) -> bool:  # noqa: ARG002
        """Anything but clocks."""
        return not fault.kind.startswith("clock")


#: All templates, in the order in which they are drawn.
TEMPLATES: Final = (
    ShortMemory(),
    Deaths(),
    CalmOpening(),
    Flapping(),
    Minorities(),
    PacketsLost(),
    ClocksOff(),
)


def template_of(rng: Rng) -> ScenarioTemplate:
    """The template that a seed's scenario is generated from."""
    chance = rng.random()
    for template in TEMPLATES:
        if chance < template.share:
            return template
        chance -= template.share
    return ScenarioTemplate()
