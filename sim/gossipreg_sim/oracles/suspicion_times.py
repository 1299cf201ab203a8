"""Oracle 12: a suspicion lasts as long as the formula says for its number of confirmations."""
# ruff: noqa: SLF001 -- oracles see what no node can see

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.suspicion import Suspicion
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process

#: Two clocks that tell the same time in floats and in ns (seconds).
_ROUNDING: Final = 1e-6


def suspicion_time(settings: EngineSettings, members: int, confirmations: int, *, refused: bool = False) -> float:
    """Lifeguard §IV-B, written once more: Max - (Max - Min) ln(C + 1) / ln(K + 1), but at least Min (seconds)."""
    least = settings.suspicion_alpha * max(1.0, math.log10(members)) * settings.probe_interval
    most = settings.suspicion_beta * least
    wanted = min(settings.suspicion_confirmations, members - 2)
    if refused:
        return least
    if wanted <= 0:
        return most
    return max(least, most - (most - least) * math.log(confirmations + 1) / math.log(wanted + 1))


@attrs.frozen
class _Open:
    suspicion: Suspicion
    since: float  # on the observer's clock (seconds)
    members: int  # after the step
    step: list[int]  # when (ns), and how many beliefs changed in it: by so many the size may have changed, too


@attrs.define
class SuspicionTimes(Oracle):
    """Nobody is failed before its time is over, nor, by one who is fit to judge, much later; if proven, only the dead.

    A confirmation may come when the time that it leaves is over already, so a verdict may be as late as the time
    with one confirmation less. Sizes change while suspicions run: the formula is taken for the size at the start.
    """

    law: ClassVar[str] = "a suspicion lasts as long as the formula gives for its confirmations"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _open: dict[tuple[Process, str], _Open] = attrs.field(factory=dict)
    _steps: dict[Process, list[int]] = attrs.field(factory=dict)

    def see(self, process: Process, output: Output) -> None:
        """Note a suspicion that begins; judge one that ends in a verdict of this very node."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        after = output.after
        step = self._steps.get(process)
        if step is None or step[0] != self.cluster.world.now:
            step = self._steps[process] = [self.cluster.world.now, 0]
        step[1] += 1
        if after is None or after.name == process.name:
            return
        key = (process, after.name)
        if after.status is Status.SUSPECT:
            suspicion = process.engine.detector._suspicions.get(after.name)
            if suspicion is not None:
                self._open[key] = _Open(suspicion, process.now, process.engine.members.present_count, step)
            return
        opened = self._open.pop(key, None)
        if after.status is not Status.FAILED or after.accuser != process.engine.identity.run_id:
            return
        if opened is not None:
            self._judge(process, after.name, opened)
        else:  # accused and failed in one step: it must have been proven
            self._judge_proof(process, after.name)

    def _judge(self, process: Process, accused: str, opened: _Open) -> None:
        suspicion = opened.suspicion
        if suspicion.is_proven:
            self._judge_proof(process, accused)
            return
        waited = process.now - suspicion.started
        # One that began with a peer's verdict takes the shortest time, as one that a kernel refused does.
        shortest = suspicion.is_refused or suspicion.is_hastened
        least = min(self._times(process, opened, suspicion.confirmations, refused=shortest))
        self.checks += 1
        if waited < least - _ROUNDING or suspicion.started < opened.since - _ROUNDING:
            self.wrong(process.name, f"failed {accused} after {waited:.3f} s, before {least:.3f} s were over")
        self._not_late(process, accused, opened)

    def _judge_proof(self, process: Process, accused: str) -> None:
        living = self.cluster.living(accused)
        held = process.engine.members.get(accused)
        lives = living is not None and held is not None and living.engine.identity.run_id == held.run_id
        self.check(process, not lives, f"failed {accused}, whose kernel had refused two, although it runs")

    def _not_late(self, process: Process, accused: str, opened: _Open) -> None:
        suspicion = opened.suspicion
        if suspicion.not_before or not self.context.is_punctual:
            return
        waited = process.now - suspicion.started
        # A confirmation may have left no time to verify, and another one may have come meanwhile.
        before = 0 if suspicion.is_refused else max(0, suspicion.confirmations - (2 if suspicion.verifies else 1))
        most = max(self._times(process, opened, before, refused=False)) + process.engine.settings.lag_tolerance
        most += suspicion.patience if suspicion.verifies else 0.0
        self.checks += 1
        if waited > most:
            self.wrong(process.name, f"suspects {accused} for {waited:.3f} s, although {most:.3f} s are over")

    @staticmethod
    def _times(process: Process, opened: _Open, confirmations: int, *, refused: bool | None = None) -> Iterator[float]:
        """What the formula says for each size that the cluster may have had."""
        refused = opened.suspicion.is_refused if refused is None else refused
        for size in range(max(2, opened.members - opened.step[1]), opened.members + opened.step[1] + 1):
            yield suspicion_time(process.engine.settings, size, confirmations, refused=refused)

    def finish(self) -> None:
        """Look for suspicions that should be over."""
        for (process, accused), opened in self._open.items():
            if process.alive:
                self._not_late(process, accused, opened)
        if not self.checks:
            self.not_applicable("no suspicion ran its time")
