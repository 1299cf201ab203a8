"""Oracle 12: a suspicion lasts as long as the formula says for its number of confirmations."""
# ruff: noqa: SLF001 -- oracles see the private state of nodes

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

#: Rounding difference between a time in float seconds and the same time in ns (seconds).
_ROUNDING: Final = 1e-6


def suspicion_time(settings: EngineSettings, members: int, confirmations: int, *, refused: bool = False) -> float:
    """Return the suspicion timeout (seconds) of Lifeguard §IV-B, computed independently of the protocol's code.

    It is Max - (Max - Min) ln(C + 1) / ln(K + 1), but at least Min.
    """
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
    step: list[int]  # ns, and the number of beliefs that changed in it, each of which may change the size


@attrs.define
class SuspicionTimes(Oracle):
    """No failure is declared before the timeout, nor long after it by a punctual node, nor proven of a live member.

    A confirmation may arrive after the shorter timeout that it leads to, so the upper limit is the timeout with one
    confirmation less. Cluster sizes change while suspicions run: the formula uses the size at the start.
    """

    law: ClassVar[str] = "a suspicion lasts as long as the formula gives for its confirmations"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _open: dict[tuple[Process, str], _Open] = attrs.field(factory=dict)
    _steps: dict[Process, list[int]] = attrs.field(factory=dict)

    def see(self, process: Process, output: Output) -> None:
        """Note the start of a suspicion; check one that ends in a failure declared by this node."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        after = output.after
        step = self._steps.get(process)
        if step is None or step[0] != self.cluster.world.now:
            step = self._steps[process] = [self.cluster.world.now, 0]
        step[1] += 1
        if after is None:
            assert output.before is not None, "only a known member can be forgotten"
            self._open.pop((process, output.before.name), None)  # a suspect, if it was expelled
            return
        if after.name == process.name:
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
        if opened is not None and opened.suspicion.failure is not None:
            return  # it had declared that failure before it forgot the member, and a peer has told it of it
        if output.before is not None and output.before.status is Status.FAILED:
            return  # it was failed already, and has refuted that only in another cell (`RemoteHandler`)
        if opened is not None:
            self._evaluate(process, after.name, opened)
        else:  # suspected and failed in one step, so the failure must be proven
            self._evaluate_proof(process, after.name)

    def _evaluate(self, process: Process, accused: str, opened: _Open) -> None:
        suspicion = opened.suspicion
        if suspicion.is_proven:
            self._evaluate_proof(process, accused)
            return
        waited = process.now - suspicion.started
        # A suspicion that started with a peer's failure update has the shortest timeout, as one after a refusal has.
        shortest = suspicion.is_refused or suspicion.is_shortened
        least = min(self._times(process, opened, suspicion.confirmations, refused=shortest))
        self.checks += 1
        if waited < least - _ROUNDING or suspicion.started < opened.since - _ROUNDING:
            self.wrong(process.name, f"failed {accused} after {waited:.3f} s, before {least:.3f} s were over")
        self._check_not_late(process, accused, opened)

    def _evaluate_proof(self, process: Process, accused: str) -> None:
        living = self.cluster.running(accused)
        held = process.engine.members.get(accused)
        lives = living is not None and held is not None and living.engine.identity.run_id == held.run_id
        self.check(process, not lives, f"failed {accused}, which is alive, after two refusals")

    def _check_not_late(self, process: Process, accused: str, opened: _Open) -> None:
        suspicion = opened.suspicion
        if suspicion.deferred_until or not self.context.is_punctual:
            return
        waited = process.now - suspicion.started
        # A confirmation may have left no time to verify the member, and another may have arrived meanwhile.
        before = 0 if suspicion.is_refused else max(0, suspicion.confirmations - (2 if suspicion.verifies else 1))
        most = max(self._times(process, opened, before, refused=False)) + process.engine.settings.lag_tolerance
        most += suspicion.ack_timeout if suspicion.verifies else 0.0
        self.checks += 1
        if waited > most:
            self.wrong(process.name, f"suspects {accused} for {waited:.3f} s, longer than {most:.3f} s")

    @staticmethod
    def _times(process: Process, opened: _Open, confirmations: int, *, refused: bool | None = None) -> Iterator[float]:
        """Yield the formula's timeout for each size that the cluster may have had."""
        refused = opened.suspicion.is_refused if refused is None else refused
        for size in range(max(2, opened.members - opened.step[1]), opened.members + opened.step[1] + 1):
            yield suspicion_time(process.engine.settings, size, confirmations, refused=refused)

    def finish(self) -> None:
        """Look for suspicions that are overdue at the end."""
        for (process, accused), opened in self._open.items():
            if process.alive:
                self._check_not_late(process, accused, opened)
        if not self.checks:
            self.not_applicable("no suspicion reached its timeout")
