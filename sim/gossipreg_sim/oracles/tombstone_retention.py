"""Oracle 4: no departed member is forgotten before every node can have heard of its departure."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs

from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.agreement import heal_bound
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND

#: Clocks that run fast forget early: by what share at most, and the second to which ages are told.
_FAST: Final = 0.02
_AGE_STEP: Final = 1.0

#: What is believed: name, generation, incarnation, gravity.
_Claim = tuple[str, int, int, int]


@attrs.define
class TombstoneRetention(Oracle):
    """A member that failed or left is remembered for as long as the settings say, counted from the first who knew.

    Removed records need no such memory here (docs/decisions/0002), so this is the only tombstone with a time. It must
    outlive the longest partition and the heal bound; a scenario that lets it not is flagged.
    """

    law: ClassVar[str] = "tombstones of departed members outlive the longest partition and the heal bound"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _gone: dict[_Claim, int] = attrs.field(factory=dict)  # since when somebody believed so (ns)

    def see(self, process: Process, output: Output) -> None:
        """Note who goes first, and compare when somebody is forgotten."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        world = self.cluster.world
        if output.after is not None:
            if not output.after.status.is_present:
                self._gone.setdefault(_claim(output.after), world.now)
            return
        forgotten = output.before
        assert forgotten is not None, "only what was known is forgotten"
        memory = process.engine.members.memory(forgotten.status)
        lasted = (world.now - self._gone.get(_claim(forgotten), 0)) / SECOND
        least = memory * (1 - _FAST) - _AGE_STEP
        self.check(process, lasted >= least, f"forgot {forgotten.name} after {lasted:.1f} s, not {memory:g} s")

    def finish(self) -> None:
        """Flag a scenario in which what is forgotten may be heard of again."""
        kept = self.context.scenario.settings.remember_departed
        needed = self.context.longest_separation + heal_bound(self.context.scenario)
        if kept < needed:
            self.note = f"flagged: remember_departed {kept:g} s is less than parting and heal bound, {needed:.0f} s"
        elif not self.checks:
            self.not_applicable("no member was forgotten")


def _claim(update: MemberUpdate) -> _Claim:
    return (update.name, update.generation, update.incarnation, int(update.status))
