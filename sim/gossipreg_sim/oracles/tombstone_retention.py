"""Oracle 4: no departed member is forgotten before every node can have learned of its departure."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.heal_bound import heal_bound
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: Clocks that run fast forget early: the largest drift, and the resolution of ages (seconds).
_FAST: Final = 0.02
_AGE_STEP: Final = 1.0

#: A belief: name, generation, incarnation, gravity.
_Claim = tuple[str, int, int, int]


@attrs.define
class TombstoneRetention(Oracle):
    """A member that failed or left is remembered for `remember_departed` from the first node that knew.

    Removed records need no retention time (docs/decisions/0002), so this is the only tombstone with one. It must exceed
    the longest partition and the heal bound; a scenario in which it does not is flagged.
    """

    law: ClassVar[str] = "tombstones of departed members outlive the longest partition and the heal bound"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _gone: dict[_Claim, int] = attrs.field(factory=dict)  # since when any node has believed so (ns)

    def see(self, process: Process, output: Output) -> None:
        """Note the first node that believes a departure, and check the age of a tombstone that is dropped."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        world = self.cluster.world
        if output.after is not None:
            if not output.after.status.is_present:
                self._gone.setdefault(_claim(output.after), world.now)
            return
        forgotten = output.before
        assert forgotten is not None, "only a known member can be forgotten"
        if self.cluster.has_revoked(forgotten.proof):
            return  # expelled members are not remembered, but their revocations
        memory = process.engine.members.memory(forgotten.status)
        lasted = (world.now - self._gone.get(_claim(forgotten), 0)) / SECOND
        least = memory * (1 - _FAST) - _AGE_STEP
        self.check(process, lasted >= least, f"forgot {forgotten.name} after {lasted:.1f} s, not {memory:g} s")

    def finish(self) -> None:
        """Flag a scenario in which a forgotten member's old updates may still arrive."""
        kept = self.context.scenario.settings.remember_departed
        needed = self.context.longest_separation + heal_bound(self.context.scenario)
        if kept < needed:
            self.note = f"flagged: remember_departed {kept:g} s is less than partition and heal bound, {needed:.0f} s"
        elif not self.checks:
            self.not_applicable("no member was forgotten")


def _claim(update: MemberUpdate) -> _Claim:
    return (update.name, update.generation, update.incarnation, int(update.status))
