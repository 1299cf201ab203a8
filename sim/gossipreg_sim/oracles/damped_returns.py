"""Oracle 18: a member that keeps failing by its own fault rejoins after ever longer waits."""
# ruff: noqa: SLF001 -- oracles see the private state of nodes

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

#: Rounding difference between a time in float seconds and the same time in ns (seconds).
_ROUNDING: Final = 1e-6

#: Faults local to a node that separate it from no other node for good.
_SLOW: Final = ("slow",)

#: Returns that one observer may see before the first wait. One is free; a node with a backlog may refute the suspicion
#: that follows, and one more, before it learns of the first failure.
_UNDAMPED: Final = 3


def suppression(settings: EngineSettings, returns: int) -> float:
    """Return the wait of a member with ``returns`` recent returns (seconds): 0, then base, 2 base, 4 base, ..."""
    return min(settings.damping_max, settings.damping_base * 2 ** (returns - 1)) if returns else 0.0


@attrs.define
class _Accused:
    """An accusation of one claim of a node: a suspicion or a failure, whichever the node received first."""

    received: float  # on the node's clock (seconds)
    suppression: float  # the wait from then on (seconds)
    update: MemberUpdate
    own_fault: bool
    failed: bool = False  # whether the node has learned of the failure


@attrs.define
class DampedReturns(Oracle):
    """A node that learns of its failure waits before it rejoins; the wait grows with its recent returns.

    A node that refutes the suspicion before it learns of the failure returns, too, and waits for that return the next
    time. Only the node knows whether a failure was its own fault. So what observers see is checked as well, in runs in
    which the only faults are a few slow nodes, by those that are not: a slow one sees a return late.
    """

    law: ClassVar[str] = "a repeatedly failed member rejoins after ever longer delays"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _tap: PacketTap = attrs.field(init=False)
    _accused: dict[Process, dict[tuple[int, int], _Accused]] = attrs.field(factory=dict)
    _returns: dict[Process, list[float]] = attrs.field(factory=dict)
    _answered: dict[Process, tuple[int, int]] = attrs.field(factory=dict)  # the last failed claim that was superseded
    _seen: dict[tuple[Process, int], deque[float]] = attrs.field(factory=dict)  # (observer, run) -> last returns
    _only_slow: bool = False
    _slow: frozenset[str] = frozenset()

    def __attrs_post_init__(self) -> None:
        self._tap = PacketTap(self._note_accusation, self.cluster)
        faults = self.context.scenario.faults
        self._only_slow = bool(faults) and all(fault.kind in _SLOW for fault in faults)
        self._slow = frozenset(name for fault in faults for name in fault.nodes)

    # What the node receives and announces

    def _note_accusation(self, process: Process, accusation: Accusation) -> None:
        if accusation.claim <= self._answered.get(process, (0, -1)):
            return
        is_failed = accusation.status is Status.FAILED
        own = process.engine.identity
        if accusation.claim < (own.generation, own.incarnation):
            if is_failed and _is_own_fault(process, accusation.update):
                self._note(process, accusation.claim)  # superseded before it was received
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
        """Note the nodes that rejoin, and when each learned of its accusation."""
        self._tap.attach(process)
        accused = self._accused.get(process)
        if not accused:
            return
        identity = process.engine.local_member.identity
        for claim in [claim for claim in accused if claim < (identity.generation, identity.incarnation)]:
            is_same_run = claim[0] == identity.generation
            entry = accused.pop(claim)
            at_once = entry.received == process.now  # then the wait may have changed since the packet was decoded
            own_fault = entry.own_fault and (not at_once or _is_own_fault(process, entry.update))
            if is_same_run and not identity.left and own_fault:
                self._evaluate(process, claim, entry)

    def _evaluate(self, process: Process, claim: tuple[int, int], accused: _Accused) -> None:
        waited = process.now - accused.received
        if accused.failed:
            self._note(process, claim)
        if accused.suppression:
            self.checks += 1
            if waited < accused.suppression - _ROUNDING:
                self.wrong(process.name, f"rejoined {waited:.3f} s after it was accused, not {accused.suppression:g} s")

    # What observers see

    def see(self, process: Process, output: Output) -> None:
        """Count how often one observer sees one run of a node return."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        before, after = output.before, output.after
        if (
            not self._only_slow
            or process.name in self._slow
            or before is None
            or after is None
            or before.run_id != after.run_id
        ):
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
        """Note if no member failed twice."""
        if not self.checks:
            self.not_applicable("no member returned twice")


def _is_own_fault(process: Process, accusation: MemberUpdate) -> bool:
    """Whether the node considers the accusation its own fault now."""
    return process.engine.local_member._is_own_fault(accusation, process.now)
