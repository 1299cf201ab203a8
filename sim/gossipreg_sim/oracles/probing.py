"""Oracles 10 and 11: every member is probed in turn, so a dead one is soon probed by some node."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.statistics import mean_between
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: Deaths needed for a meaningful mean time to the first probe.
_DEATHS_NEEDED: Final = 5

#: Faults that kill, and faults that leave the surviving nodes unaffected.
_FAIR: Final = ("crash", "crash-host", "restart", "churn", "duplicate", "clock-skew")


@attrs.define
class _Round:
    """The progress of one observer through its round of probes."""

    periods: int = 0  # minus one per member that joined or rejoined, which may be probed before others
    most: int = 0  # largest number of present members so far
    last: dict[str, int] = attrs.field(factory=dict)  # target -> `periods` when it was probed
    began: float = 0.0  # start of the current period, on the observer's clock (seconds)
    length: float = math.inf  # maximum length of the period (seconds)


@attrs.define
class Completeness(Oracle):
    """An observer probes each member again within 2n - 1 periods, each as long as its local health allows.

    So every observer detects a dead member by itself, in bounded time (SWIM §4.3).
    """

    law: ClassVar[str] = "every observer probes every member again within 2n - 1 periods"

    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _rounds: dict[Process, _Round] = attrs.field(factory=dict)

    def see(self, process: Process, output: Output) -> None:
        """Drop members that are no longer present; a new member may be probed before others."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        after, before = output.after, output.before
        found = self._rounds.get(process)
        if found is None:
            return
        if not process.engine.members.present:
            found.length = math.inf  # without members there are no periods
        if after is None:
            assert before is not None, "only a known member can be forgotten"
            found.last.pop(before.name, None)  # present until then, if it was expelled
            return
        if not after.status.is_present:
            found.last.pop(after.name, None)
        elif before is None or not before.status.is_present:
            found.periods -= 1

    def probed(self, process: Process, target: MemberUpdate) -> None:
        """Count the periods since the last probe of this target, and measure the last period."""
        found = self._rounds.get(process)
        if found is None:
            found = self._rounds[process] = _Round()
        engine = process.engine
        found.periods += 1
        found.most = max(found.most, engine.members.present_count - 1)
        self._evaluate(process, target.name, found)
        held = engine.members.get(target.name)
        if held is not None and held.status.is_present:  # else the target failed in the same step
            found.last[target.name] = found.periods
        now = process.now
        if self.context.is_punctual:
            self.checks += 1
            if now - found.began > found.length:
                self.wrong(process.name, f"took {now - found.began:.3f} s for a period of {found.length:.3f} s")
        found.began = now
        slack = engine.settings.lag_tolerance + engine.settings.probe_interval  # it retries if there is no target
        found.length = engine.detector.health.stretch(engine.settings.probe_interval) + slack
        if not engine.members.present:  # the last of them failed
            found.length = math.inf

    def _evaluate(self, process: Process, target: str, found: _Round) -> None:
        self.checks += 1
        gap = found.periods - found.last.get(target, found.periods)
        if gap > 2 * found.most - 1:
            self.wrong(process.name, f"let {gap} periods pass between two probes of {target} among {found.most}")

    def finish(self) -> None:
        """Look for members that were never probed again."""
        for process, found in self._rounds.items():
            if process.alive:
                for target in process.engine.members.present:
                    if target in found.last:
                        self._evaluate(process, target, found)


@attrs.define
class FirstProbe(Oracle):
    """The mean time until the first probe of a dead member is at most e/(e - 1) periods (SWIM §3.1)."""

    law: ClassVar[str] = "the mean first probe of a dead member comes within e/(e-1) periods"

    _died: dict[str, tuple[int, int]] = attrs.field(factory=dict)  # name -> its run, when (ns)
    _times: list[float] = attrs.field(factory=list)  # seconds

    def __attrs_post_init__(self) -> None:
        self.cluster.exit_taps.append(self._note_death)

    def _note_death(self, process: Process) -> None:
        most_live = 2 * len(self.cluster.alive) > len(self.cluster.processes)
        if most_live and not process.engine.identity.left:
            self._died[process.name] = (process.engine.identity.run_id, self.cluster.world.now)

    def probed(self, process: Process, target: MemberUpdate) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Note the first probe of each dead member."""
        died = self._died.get(target.name)
        if died is not None and died[0] == target.run_id:
            del self._died[target.name]
            self._times.append((self.cluster.world.now - died[1]) / SECOND)

    def finish(self) -> None:
        """Compare the mean with the theoretical value."""
        scenario = self.context.scenario
        if any(fault.kind not in _FAIR for fault in scenario.faults):
            self.not_applicable("faults also affect live nodes")
        elif len(self._times) < _DEATHS_NEEDED:
            self.not_applicable(f"{len(self._times)} deaths were probed, {_DEATHS_NEEDED} are needed")
        else:
            expected = math.e / (math.e - 1) * scenario.settings.probe_interval
            low, high = mean_between(self._times)
            self.checks += len(self._times)
            mean = (low + high) / 2
            self.note = f"measured {mean:.2f} s over {len(self._times)} deaths, bound {expected:.2f} s"
            if low > expected:
                self.wrong("", f"dead members are first probed after {low:.2f} to {high:.2f} s, not {expected:.2f} s")
