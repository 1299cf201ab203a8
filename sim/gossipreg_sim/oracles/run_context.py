"""Run context of an oracle: the phases of a run, and the time in which no fault is active."""

from __future__ import annotations

from functools import cached_property

import attrs

from gossipreg_sim.fault import Fault
from gossipreg_sim.fault_timing import DEADLY, is_for_good
from gossipreg_sim.heal_bound import heal_bound
from gossipreg_sim.healing import Heal
from gossipreg_sim.oracles.record_tracker import RecordTracker
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.trace import Trace
from gossipreg_sim.world import ns

#: Time after the last start in which a cluster may converge before it is measured (seconds).
_SETTLING = 3.0

#: Faults that lose packets at random and have no other effect.
_LOSSES = ("loss", "duplicate")

#: Faults that delay a process's work.
_DELAYS = ("freeze", "block", "slow", "clock-drift")

#: Faults that separate nodes while they last.
_SEPARATIONS = ("cut", "flip-flop", "freeze", "block", "crash-host", "swizzle", "output-rejected")


@attrs.define
class RunContext:
    """The phases of one run. Times are in ns."""

    scenario: Scenario
    trace: Trace = attrs.field(factory=Trace)
    outside: tuple[str, ...] = ()  # nodes that a permanent fault separates
    record_tracker: RecordTracker = attrs.field(factory=RecordTracker)
    suppression: float = 0.0  # the longest flap-damping wait after the heal (seconds)
    healed_in: float | None = None  # seconds after the heal until all agreed; None until then, or if they never do
    heals: tuple[Heal, ...] = ()  # the same after each fault phase; the last is the heal

    @property
    def bound(self) -> float:
        """The time after the heal within which all must agree (seconds)."""
        return heal_bound(self.scenario) + self.suppression

    @cached_property
    def faults_at(self) -> int:
        """The time at which faults start to count."""
        return ns(self.scenario.warmup)

    @cached_property
    def heal_at(self) -> int:
        """The time at which every fault that is not permanent has ended."""
        return self.faults_at + ns(self.scenario.duration)

    @cached_property
    def settled_from(self) -> int:
        """The time at which all nodes have started and converged."""
        starting = 0.0 if self.scenario.together else self.scenario.nodes * self.scenario.stagger
        return ns(starting + _SETTLING)

    @cached_property
    def undisturbed_until(self) -> int:
        """The time at which the first fault begins; without faults, later than any run."""
        begins = [self._begins(fault) for fault in self.scenario.faults]
        return min(begins, default=1 << 62)

    @cached_property
    def fair_until(self) -> int:
        """The time until which the only faults are random packet losses."""
        begins = [self._begins(fault) for fault in self.scenario.faults if fault.kind not in _LOSSES]
        return min(begins, default=1 << 62)

    def _begins(self, fault: Fault) -> int:
        return 0 if fault.kind == "clock-skew-at-start" else self.faults_at + ns(fault.at)

    @cached_property
    def loss(self) -> float:
        """The greatest probability of random packet loss in one direction."""
        kept = 1.0
        for fault in self.scenario.faults:
            kept *= 1.0 - (fault.probability if fault.kind == "loss" else 0.0)
        return 1.0 - kept

    @cached_property
    def is_punctual(self) -> bool:
        """Whether no fault delays a process's work."""
        return not any(fault.kind in _DELAYS for fault in self.scenario.faults)

    @cached_property
    def longest_separation(self) -> float:
        """The longest time for which the scenario separates a node from the others (seconds)."""
        separations = [0.0]
        for fault in self.scenario.faults:
            if fault.kind in _SEPARATIONS and not (fault.kind in DEADLY and is_for_good(fault)):
                left = self.scenario.duration - fault.at
                separations.append(min(left, fault.off or fault.lasts or left))
        return max(separations)
