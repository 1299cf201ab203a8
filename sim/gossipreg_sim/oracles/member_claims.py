"""Oracles 5 and 9 for members: only the member raises its incarnation, and it refutes what accuses it."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs

from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.oracles.packet_tap import Accusation, PacketTap
from gossipreg_sim.process import Process


@attrs.define
class MemberClaims(Oracle):
    """Every (generation, incarnation) that a node believes of a member was taken by that member itself."""

    law: ClassVar[str] = "only a member itself raises its generation and incarnation"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _announced: dict[tuple[str, int], int] = attrs.field(factory=dict)  # (name, generation) -> highest incarnation
    _last: dict[Process, tuple[int, int]] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """Note what a member announces about itself."""
        identity = process.engine.local_member.identity
        last = self._last.get(process)
        if last is None or last[1] != identity.incarnation or last[0] != identity.generation:
            self._last[process] = (identity.generation, identity.incarnation)
            self._announced[process.name, identity.generation] = identity.incarnation

    def see(self, process: Process, output: Output) -> None:
        """Compare a node's new belief with what the member has announced."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        after = output.after
        if after is None or after.name == process.name:
            return
        self.checks += 1
        if after.incarnation > self._announced.get((after.name, after.generation), -1):
            claim = f"{after.name} in generation {after.generation}, incarnation {after.incarnation}"
            self.wrong(process.name, f"believes {claim}, which {after.name} never announced")


@attrs.define
class AnsweredAccusations(Oracle):
    """A member that receives an accusation of its current run has a higher incarnation at the end of the step."""

    law: ClassVar[str] = "a member that learns of an accusation refutes it in the same step"

    _tap: PacketTap = attrs.field(init=False)
    _received: list[Accusation] = attrs.field(factory=list)  # in this step

    def __attrs_post_init__(self) -> None:
        self._tap = PacketTap(lambda _, accusation: self._received.append(accusation), self.cluster)

    def after(self, process: Process) -> None:
        """Compare the accusations of this step with the accused member's current claim."""
        self._tap.attach(process)
        if not self._received:
            return
        identity = process.engine.local_member.identity
        now = (identity.generation, identity.incarnation)
        for accusation in self._received:
            self.checks += 1
            waits = process.engine.local_member.damping.unanswered is not None  # `DampedReturns` checks the waits
            if now <= accusation.claim and not identity.left and not waits:
                self.wrong(process.name, f"received an accusation of {accusation.claim}, and is still in {now}")
        self._received.clear()

    def finish(self) -> None:
        """Note if no member was accused."""
        if not self.checks:
            self.not_applicable("no member learned of an accusation")
