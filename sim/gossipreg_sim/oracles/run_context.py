"""Run context of an oracle: the phases of the run, and when nothing is meant to go wrong."""

from __future__ import annotations

from functools import cached_property

import attrs

from gossipreg_sim.agreement import heal_bound
from gossipreg_sim.fault import Fault
from gossipreg_sim.fault_timing import DEADLY, is_for_good
from gossipreg_sim.healing import Heal
from gossipreg_sim.oracles.record_tracker import RecordTracker
from gossipreg_sim.scenario import Scenario
from gossipreg_sim.trace import Trace
from gossipreg_sim.world import ns

#: How long after the last start a cluster is given to come together before its calm is measured (seconds).
_SETTLING = 3.0

#: Faults that take packets at random and leave all else as it is.
_LOSSES = ("loss", "duplicate")

#: Faults that keep a process from doing things when they are due.
_DELAYS = ("freeze", "block", "slow", "clock-drift")

#: Faults that keep nodes apart for as long as they last.
_SEPARATIONS = ("cut", "flip-flop", "freeze", "block", "crash-host", "swizzle", "output-rejected")


@attrs.define
class RunContext:
    """The acts of one run. Times are in ns."""

    scenario: Scenario
    trace: Trace = attrs.field(factory=Trace)
    outside: tuple[str, ...] = ()  # nodes that a permanent fault keeps apart
    record_tracker: RecordTracker = attrs.field(factory=RecordTracker)
    suppression: float = 0.0  # the longest that a node that keeps being failed may wait after the heal (seconds)
    healed_in: float | None = None  # seconds after the heal until all agreed; None as long as they have not
    heals: tuple[Heal, ...] = ()  # the same after each spell of faults; the last is the heal

    @property
    def bound(self) -> float:
        """Within how many seconds of the heal all must agree."""
        return heal_bound(self.scenario) + self.suppression

    @cached_property
    def faults_at(self) -> int:
        """When faults begin to count."""
        return ns(self.scenario.warmup)

    @cached_property
    def heal_at(self) -> int:
        """When all that is not permanent is healed."""
        return self.faults_at + ns(self.scenario.duration)

    @cached_property
    def settled_from(self) -> int:
        """When all have started and come together."""
        starting = 0.0 if self.scenario.together else self.scenario.nodes * self.scenario.stagger
        return ns(starting + _SETTLING)

    @cached_property
    def undisturbed_until(self) -> int:
        """When the first fault begins; without faults, never in a run."""
        begins = [self._begins(fault) for fault in self.scenario.faults]
        return min(begins, default=1 << 62)

    @cached_property
    def fair_until(self) -> int:
        """Until when nothing is worse than packets lost at random."""
        begins = [self._begins(fault) for fault in self.scenario.faults if fault.kind not in _LOSSES]
        return min(begins, default=1 << 62)

    def _begins(self, fault: Fault) -> int:
        return 0 if fault.kind == "clock-skew-at-start" else self.faults_at + ns(fault.at)

    @cached_property
    def loss(self) -> float:
        """The greatest share of packets that may be lost at random on one way."""
        kept = 1.0
        for fault in self.scenario.faults:
            kept *= 1.0 - (fault.probability if fault.kind == "loss" else 0.0)
        return 1.0 - kept

    @cached_property
    def is_punctual(self) -> bool:
        """Whether every process does things when they are due."""
        return not any(fault.kind in _DELAYS for fault in self.scenario.faults)

    @cached_property
    def longest_separation(self) -> float:
        """For how long at most the scenario keeps a node from the others (seconds)."""
        separations = [0.0]
        for fault in self.scenario.faults:
            if fault.kind in _SEPARATIONS and not (fault.kind in DEADLY and is_for_good(fault)):
                left = self.scenario.duration - fault.at
                separations.append(min(left, fault.off or fault.lasts or left))
        return max(separations)
