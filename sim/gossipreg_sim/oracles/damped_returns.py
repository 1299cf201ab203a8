"""Oracle 18: a member that keeps being failed by its own fault comes back later and later."""
# ruff: noqa: SLF001 -- oracles see what no node can see

from __future__ import annotations

from collections import deque
from typing import Any, ClassVar, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.packet_tap import Accusation, PacketTap
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: Two clocks that tell the same time in floats and in ns (seconds).
_ROUNDING: Final = 1e-6

#: Faults that are a node's own, and keep it from nobody for good.
_SLOW: Final = ("slow",)

#: Returns that one observer may see before the first wait: one is free, and a node with a backlog may answer the
#: suspicion that follows it, and one more, before it hears of the first verdict.
_UNDAMPED: Final = 3


def suppression(settings: EngineSettings, returns: int) -> float:
    """What a member must wait (seconds) that has come back so often lately: nothing, then base, 2 base, 4 base, ..."""
    return min(settings.damping_max, settings.damping_base * 2 ** (returns - 1)) if returns else 0.0


@attrs.define
class _Accused:
    """One claim of a node in which it was accused: of a suspicion or a verdict, whichever it heard first."""

    heard: float  # on its clock (seconds)
    suppression: float  # what it must wait since (seconds)
    update: MemberUpdate
    own_fault: bool
    failed: bool = False  # whether it has heard the verdict


@attrs.define
class DampedReturns(Oracle):
    """Between hearing that it is accused and saying that it is back a node waits as long as its last returns ask for.

    It may be back before it has heard of its failure, by refuting the mere suspicion: that is a return like any other,
    and it waits with that, too, once it has returned. Whether a failure is its own fault only the node can say; so
    what others see is judged as well, where nothing is wrong but that a few nodes are slow.
    """

    law: ClassVar[str] = "a repeatedly failed member rejoins after ever longer delays"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _tap: PacketTap = attrs.field(init=False)
    _accused: dict[Process, dict[tuple[int, int], _Accused]] = attrs.field(factory=dict)
    _returns: dict[Process, list[float]] = attrs.field(factory=dict)
    _answered: dict[Process, tuple[int, int]] = attrs.field(factory=dict)  # the last claim that failed and is outbid
    _seen: dict[tuple[Process, int], deque[float]] = attrs.field(factory=dict)  # (observer, life) -> its last returns
    _only_slow: bool = False

    def __attrs_post_init__(self) -> None:
        self._tap = PacketTap(self._hear, self.cluster)
        faults = self.context.scenario.faults
        self._only_slow = bool(faults) and all(fault.kind in _SLOW for fault in faults)

    # What the node hears and says

    def _hear(self, process: Process, accusation: Accusation) -> None:
        if accusation.claim <= self._answered.get(process, (0, -1)):
            return
        is_failed = accusation.status is Status.FAILED
        own = process.engine.identity
        if accusation.claim < (own.generation, own.incarnation):
            if is_failed and _is_own_fault(process, accusation.update):
                self._note(process, accusation.claim)  # outbid before it was heard
            return
        settings, now = process.engine.settings, process.now
        lately = [at for at in self._returns.get(process, ()) if now - at < settings.damping_memory]
        own_fault = _is_own_fault(process, accusation.update)
        wait = suppression(settings, len(lately)) if own_fault else 0.0
        accused = self._accused.setdefault(process, {}).setdefault(
            accusation.claim, _Accused(now, wait, accusation.update, own_fault)
        )
        accused.failed = accused.failed or is_failed

    def _note(self, process: Process, claim: tuple[int, int]) -> None:
        self._answered[process] = claim
        self._returns.setdefault(process, []).append(process.now)

    def after(self, process: Process) -> None:
        """See which node is back, and since when it knew that it was accused."""
        self._tap.attach(process)
        accused = self._accused.get(process)
        if not accused:
            return
        identity = process.engine.local_member.identity
        for claim in [claim for claim in accused if claim < (identity.generation, identity.incarnation)]:
            is_same_run = claim[0] == identity.generation
            entry = accused.pop(claim)
            at_once = entry.heard == process.now  # then it knew more than when the packet was opened
            own_fault = entry.own_fault and (not at_once or _is_own_fault(process, entry.update))
            if is_same_run and not identity.left and own_fault:
                self._judge(process, claim, entry)

    def _judge(self, process: Process, claim: tuple[int, int], accused: _Accused) -> None:
        waited = process.now - accused.heard
        if accused.failed:
            self._note(process, claim)
        if accused.suppression:
            self.checks += 1
            if waited < accused.suppression - _ROUNDING:
                self.wrong(process.name, f"is back {waited:.3f} s after it was accused, not {accused.suppression:g} s")

    # What others see

    def see(self, process: Process, output: Output) -> None:
        """Count how often one observer sees one life return."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        before, after = output.before, output.after
        if not self._only_slow or before is None or after is None or before.run_id != after.run_id:
            return
        if before.status is not Status.FAILED or after.status is not Status.ALIVE:
            return
        base = process.engine.settings.damping_base
        now = self.cluster.world.now / SECOND
        seen = self._seen.setdefault((process, after.run_id), deque(maxlen=_UNDAMPED))
        if len(seen) == _UNDAMPED:
            self.checks += 1
            if now - seen[0] < base:
                self.wrong(process.name, f"sees {after.name} return {_UNDAMPED + 1} times in {now - seen[0]:.1f} s")
        seen.append(now)

    def finish(self) -> None:
        """Say so if no member was failed twice."""
        if not self.checks:
            self.not_applicable("no member returned twice")


def _is_own_fault(process: Process, accusation: MemberUpdate) -> bool:
    """Whether the node takes what it is accused of for its own fault now."""
    return process.engine.local_member._is_own_fault(accusation, process.now)
