"""Knows oracle 18: whoever keeps being failed comes back later and later."""

from __future__ import annotations

from typing import ClassVar, Final

import attrs

from gossipreg.config import Settings
from gossipreg.model import Status
from sim.oracles.ears import Accusation, Ears
from sim.oracles.oracle import Oracle
from sim.process import Process

#: The share of failed others from which a node may think that it was on one side of a split. The protocol says a
#: quarter; what a packet says of several may bring a node there and back within one step.
_SPLIT_SHARE: Final = 0.2

#: Two clocks that tell the same time in floats and in ns (seconds).
_ROUNDING: Final = 1e-6

#: A return counts for a little less here than there: a node may have heard its verdict over a stream before.
_EARLIER: Final = 30.0


def penance(settings: Settings, returns: int) -> float:
    """What a member must wait (seconds) that has come back so often lately: nothing, then base, 2 base, 4 base, ..."""
    return min(settings.calm_max, settings.calm_base * 2 ** (returns - 1)) if returns else 0.0


@attrs.frozen
class _Verdict:
    """That a node was failed, as it first heard it."""

    heard: float  # on its clock (seconds)
    penance: float  # what it must wait since (seconds)


@attrs.define
class Returns(Oracle):
    """Between hearing that it failed and saying that it is back a node waits as long as its last returns ask for.

    It may be back before it has heard, by refuting the mere suspicion: that is a return like any other.
    """

    law: ClassVar[str] = "who keeps being failed comes back later and later"

    _ears: Ears = attrs.field(init=False)
    _verdicts: dict[Process, dict[tuple[int, int], _Verdict]] = attrs.field(factory=dict)
    _returns: dict[Process, list[float]] = attrs.field(factory=dict)
    _answered: dict[Process, tuple[int, int]] = attrs.field(factory=dict)  # the last claim that failed and is outbid

    def __attrs_post_init__(self) -> None:
        self._ears = Ears(self._hear)

    def _hear(self, process: Process, accusation: Accusation) -> None:
        verdicts = self._verdicts.setdefault(process, {})
        if accusation.status is not Status.FAILED or accusation.claim <= self._answered.get(process, (0, -1)):
            return
        settings, now = process.engine.settings, process.now
        lately = [at for at in self._returns.get(process, ()) if now - at < settings.calm_memory - _EARLIER]
        wait = 0.0 if _failed_share(process) >= _SPLIT_SHARE else penance(settings, len(lately))
        verdicts.setdefault(accusation.claim, _Verdict(now, wait))

    def after(self, process: Process) -> None:
        """See who is back, and since when it knew that it was failed."""
        self._ears.lend(process)
        verdicts = self._verdicts.get(process)
        if not verdicts:
            return
        identity = process.engine.standing.identity
        for claim in [claim for claim in verdicts if claim < (identity.generation, identity.incarnation)]:
            self._judge(process, claim, verdicts.pop(claim), is_same_life=claim[0] == identity.generation)

    def _judge(self, process: Process, claim: tuple[int, int], verdict: _Verdict, *, is_same_life: bool) -> None:
        if not is_same_life or process.engine.identity.left:
            return
        self._answered[process] = claim
        self._returns.setdefault(process, []).append(process.now)
        waited = process.now - verdict.heard
        before_it_heard = waited == 0.0
        if verdict.penance and not before_it_heard and _failed_share(process) < _SPLIT_SHARE:
            self.checks += 1
            if waited < verdict.penance - _ROUNDING:
                self.wrong(process.name, f"is back {waited:.3f} s after it was failed, not {verdict.penance:g} s")

    def finish(self) -> None:
        """Say so if nobody was failed twice."""
        if not self.checks:
            self.not_applicable("nobody came back twice")


def _failed_share(process: Process) -> float:
    members = process.engine.members
    failed = len(members.failed())
    return failed / (failed + members.present_count)
