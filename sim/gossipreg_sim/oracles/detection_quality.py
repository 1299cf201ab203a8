"""Oracles 13 and 17: false positive rate, detection time, and the duration of mistakes."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.statistics import wilson
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: Standard deviations of the latency that an ack's timeout must cover.
_TAIL: Final = 4.0


def miss_rate(loss: float, helpers: int) -> float:
    """Return the probability that a probe of a healthy member fails if every packet is lost with probability ``loss``.

    A direct probe takes two packets, one through a helper four. Without the stream probe, so the true rate is lower.
    """
    direct = 1 - (1 - loss) ** 2
    indirect = 1 - (1 - loss) ** 4
    return float(direct * indirect**helpers)


@attrs.define
class FalsePositives(Oracle):
    """While the only fault is random loss, probes accuse healthy members no more often than SWIM's analysis allows.

    Wilson's interval decides: the run fails only if the true rate is almost surely above the limit. A failure needs at
    least one more independent missed probe, so its limit is the square.
    """

    law: ClassVar[str] = "healthy members are accused no more often than packet loss explains"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _probes: int = 0
    _suspected: int = 0
    _failed: int = 0

    def _is_fair(self) -> bool:
        return self.context.settled_from <= self.cluster.world.now < self.context.fair_until

    def probed(self, process: Process, target: MemberUpdate) -> None:  # noqa: ARG002 -- another of its kind needs it
        """Count probes."""
        self._probes += self._is_fair()

    def see(self, process: Process, output: Output) -> None:
        """Count accusations."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        after = output.after
        if after is not None and after.accuser == process.engine.identity.run_id and self._is_fair():
            self._suspected += after.status is Status.SUSPECT
            self._failed += after.status is Status.FAILED

    def finish(self) -> None:
        """Compare the rates with their limits."""
        scenario = self.context.scenario
        settings = scenario.settings
        if self._probes == 0:
            self.not_applicable("no probe ran under random loss alone")
        elif 2 * scenario.wiring.slowest(_TAIL) > settings.probe_interval:
            self.not_applicable("an ack may be late although no packet is lost")
        else:
            loss = self.context.loss if self.cluster.world.now > self.context.undisturbed_until else 0.0
            limit = miss_rate(loss, max(0, min(settings.indirect_probes, scenario.nodes - 2)))
            self._evaluate("suspected", self._suspected, limit)
            self._evaluate("failed", self._failed, limit * limit)
            counted = f"{self._suspected} suspected, {self._failed} failed in {self._probes:,} probes"
            self.note = f"measured {counted}, bound {limit:.2%}"

    def _evaluate(self, what: str, count: int, limit: float) -> None:
        low, high = wilson(min(count, self._probes), self._probes)
        self.checks += 1
        if count and low > limit:
            self.wrong("", f"{low:.3%} to {high:.3%} of the probes had a healthy member {what}, over {limit:.3%}")


@attrs.define
class DetectionQuality(Oracle):
    """The usual metrics of a failure detector (Chen, Toueg, Aguilera 2002): reported, not checked.

    Detection time: from a death to the first and the last failure declared. Mistakes: live members declared failed; the
    duration of each, and the time until the same observer is wrong about the same member again.
    """

    law: ClassVar[str] = "reports detection time, mistake duration and mistake recurrence"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _died: dict[str, tuple[int, int]] = attrs.field(factory=dict)  # name -> its run, when (ns)
    _first: dict[int, float] = attrs.field(factory=dict)  # run -> seconds to the first failure
    _last: dict[int, float] = attrs.field(factory=dict)  # run -> seconds to the last failure so far
    _wrong: dict[tuple[Process, str], int] = attrs.field(factory=dict)  # current mistakes: since when (ns)
    _before: dict[tuple[Process, str], int] = attrs.field(factory=dict)  # start of the previous mistake (ns)
    _durations: list[float] = attrs.field(factory=list)
    _recurrences: list[float] = attrs.field(factory=list)
    _mistakes: int = 0

    def __attrs_post_init__(self) -> None:
        self.cluster.exit_taps.append(self._note_death)

    def _note_death(self, process: Process) -> None:
        if not process.engine.identity.left:
            self._died[process.name] = (process.engine.identity.run_id, self.cluster.world.now)

    def see(self, process: Process, output: Output) -> None:
        """Note failures, and their corrections."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        after = output.after
        if after is None or after.name == process.name:
            return
        now = self.cluster.world.now
        key = (process, after.name)
        if after.status is not Status.FAILED:
            began = self._wrong.pop(key, None)
            if began is not None:
                self._durations.append((now - began) / SECOND)
            return
        self.checks += 1
        living = self.cluster.running(after.name)
        if living is not None and living.engine.identity.run_id == after.run_id:
            self._note_mistake(key, now)
            return
        run_id, at = self._died.get(after.name, (0, 0))
        if run_id == after.run_id and output.before is not None:  # else a new node learns of an old failure
            self._last[run_id] = (now - at) / SECOND
            self._first.setdefault(run_id, self._last[run_id])

    def _note_mistake(self, key: tuple[Process, str], now: int) -> None:
        self._mistakes += 1
        self._wrong[key] = now
        if key in self._before:
            self._recurrences.append((now - self._before[key]) / SECOND)
        self._before[key] = now

    def finish(self) -> None:
        """Report the measurements."""
        parts = []
        if self._first:
            first, last = _mean(self._first.values()), _mean(self._last.values())
            parts.append(f"detection {first:.3f} s first, {last:.3f} s last ({len(self._first)} deaths)")
        if self._mistakes:
            lasting = f"lasting {_mean(self._durations):.2f} s" if self._durations else "never corrected"
            again = f", again after {_mean(self._recurrences):.2f} s" if self._recurrences else ""
            parts.append(f"{self._mistakes} mistakes {lasting}{again}")
        if parts:
            self.note = f"measured {'; '.join(parts)}"
        else:
            self.not_applicable("no member was declared failed")


def _mean(values: Any) -> float:
    listed = list(values)
    return float(sum(listed) / len(listed))
