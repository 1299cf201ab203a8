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
    """Every life and incarnation that is believed of a member is one that the member itself has taken."""

    law: ClassVar[str] = "only a member itself raises its generation and incarnation"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _said: dict[tuple[str, int], int] = attrs.field(factory=dict)  # (name, generation) -> highest incarnation
    _last: dict[Process, tuple[int, int]] = attrs.field(factory=dict)

    def after(self, process: Process) -> None:
        """Note what a member says of itself."""
        identity = process.engine.local_member.identity
        last = self._last.get(process)
        if last is None or last[1] != identity.incarnation or last[0] != identity.generation:
            self._last[process] = (identity.generation, identity.incarnation)
            self._said[process.name, identity.generation] = identity.incarnation

    def see(self, process: Process, output: Output) -> None:
        """Compare what somebody comes to believe with what the member has said."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        after = output.after
        if after is None or after.name == process.name:
            return
        self.checks += 1
        if after.incarnation > self._said.get((after.name, after.generation), -1):
            life = f"{after.name} in generation {after.generation}, incarnation {after.incarnation}"
            self.wrong(process.name, f"believes in {life}, of which {after.name} never spoke")


@attrs.define
class AnsweredAccusations(Oracle):
    """A member that hears itself accused in its present life has a higher incarnation when the step is over."""

    law: ClassVar[str] = "a member that learns of an accusation refutes it in the same step"

    _tap: PacketTap = attrs.field(init=False)
    _heard: list[Accusation] = attrs.field(factory=list)  # in this step

    def __attrs_post_init__(self) -> None:
        self._tap = PacketTap(lambda _, accusation: self._heard.append(accusation), self.cluster)

    def after(self, process: Process) -> None:
        """Compare the accusations of this step with what the accused says of itself now."""
        self._tap.attach(process)
        if not self._heard:
            return
        identity = process.engine.local_member.identity
        now = (identity.generation, identity.incarnation)
        for accusation in self._heard:
            self.checks += 1
            waits = (
                process.engine.local_member.damping.unanswered is not None
            )  # whether it may is for `DampedReturns` to say
            if now <= accusation.claim and not identity.left and not waits:
                self.wrong(process.name, f"heard itself accused in {accusation.claim}, and is still in {now}")
        self._heard.clear()

    def finish(self) -> None:
        """Say so if nobody was accused."""
        if not self.checks:
            self.not_applicable("no member learned of an accusation")
