"""Oracles 13 and 17: how often healthy members are accused, how soon dead ones are found, how long mistakes last."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.agreement import slowest_way
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.statistics import wilson
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: Deviations of a latency beyond which an ack does not count as late by chance.
_TAIL: Final = 4.0


def miss_rate(loss: float, helpers: int) -> float:
    """How likely a probe of a well member is missed when every packet is lost with this probability.

    Direct: two packets; through each helper: four. The stream beside them is left out, so the truth is below.
    """
    direct = 1 - (1 - loss) ** 2
    indirect = 1 - (1 - loss) ** 4
    return float(direct * indirect**helpers)


@attrs.define
class FalsePositives(Oracle):
    """While nothing is worse than random loss, no more probes accuse the well than SWIM's own arithmetic allows.

    Judged by Wilson's interval: the run is wrong only if the true rate is above the limit almost surely. A verdict
    takes at least one more probe to be missed that has nothing to do with the first, so its limit is the square.
    """

    law: ClassVar[str] = "healthy members are accused no more often than packet loss explains"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _probes: int = 0
    _suspected: int = 0
    _failed: int = 0

    def _is_fair(self) -> bool:
        return self.context.settled_from <= self.cluster.world.now < self.context.fair_until

    def probed(self, process: Process, target: MemberUpdate) -> None:  # noqa: ARG002
        """Count the probes."""
        self._probes += self._is_fair()

    def see(self, process: Process, output: Output) -> None:
        """Count the accusations."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        after = output.after
        if after is not None and after.accuser == process.engine.identity.run_id and self._is_fair():
            self._suspected += after.status is Status.SUSPECT
            self._failed += after.status is Status.FAILED

    def finish(self) -> None:
        """Compare the rates with what they may be."""
        scenario = self.context.scenario
        settings = scenario.settings
        if self._probes == 0:
            self.not_applicable("no probe was fair")
        elif 2 * slowest_way(scenario.wiring, _TAIL) > settings.probe_interval:
            self.not_applicable("an ack may be late although nothing is lost")
        else:
            loss = self.context.loss if self.cluster.world.now > self.context.undisturbed_until else 0.0
            limit = miss_rate(loss, max(0, min(settings.indirect_probes, scenario.nodes - 2)))
            self._judge("suspected", self._suspected, limit)
            self._judge("failed", self._failed, limit * limit)
            counted = f"{self._suspected} suspected, {self._failed} failed in {self._probes:,} probes"
            self.note = f"measured {counted}, bound {limit:.2%}"

    def _judge(self, what: str, count: int, limit: float) -> None:
        low, high = wilson(min(count, self._probes), self._probes)
        self.checks += 1
        if count and low > limit:
            self.wrong("", f"{low:.3%} to {high:.3%} of the probes had the well {what}, over {limit:.3%}")


@attrs.define
class DetectionQuality(Oracle):
    """What a failure detector is measured by (Chen, Toueg, Aguilera 2002): reported, not judged.

    Detection time: from a death to the first and the last verdict. Mistakes: verdicts over the living; how long each
    lasts, and how long it takes until the same observer is wrong about the same member again.
    """

    law: ClassVar[str] = "reports detection time, mistake duration and mistake recurrence"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _died: dict[str, tuple[int, int]] = attrs.field(factory=dict)  # name -> its life, when (ns)
    _first: dict[int, float] = attrs.field(factory=dict)  # life -> seconds to the first verdict
    _last: dict[int, float] = attrs.field(factory=dict)  # life -> seconds to the last verdict so far
    _wrong: dict[tuple[Process, str], int] = attrs.field(factory=dict)  # mistakes under way: since when (ns)
    _before: dict[tuple[Process, str], int] = attrs.field(factory=dict)  # when the mistake before began (ns)
    _durations: list[float] = attrs.field(factory=list)
    _recurrences: list[float] = attrs.field(factory=list)
    _mistakes: int = 0

    def __attrs_post_init__(self) -> None:
        self.cluster.ended.append(self._bury)

    def _bury(self, process: Process) -> None:
        if not process.engine.identity.left:
            self._died[process.name] = (process.engine.identity.run_id, self.cluster.world.now)

    def see(self, process: Process, output: Output) -> None:
        """Note verdicts and what becomes of them."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
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
        living = self.cluster.living(after.name)
        if living is not None and living.engine.identity.run_id == after.run_id:
            self._mistaken(key, now)
            return
        life, at = self._died.get(after.name, (0, 0))
        if life == after.run_id and output.before is not None:  # else a newcomer is told what others found out
            self._last[life] = (now - at) / SECOND
            self._first.setdefault(life, self._last[life])

    def _mistaken(self, key: tuple[Process, str], now: int) -> None:
        self._mistakes += 1
        self._wrong[key] = now
        if key in self._before:
            self._recurrences.append((now - self._before[key]) / SECOND)
        self._before[key] = now

    def finish(self) -> None:
        """Say what was measured."""
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
            self.not_applicable("no member was failed")


def _mean(values: Any) -> float:
    listed = list(values)
    return float(sum(listed) / len(listed))
