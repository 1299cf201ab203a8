"""Oracle 21: healthy members stay in the lookups of their side, and are back in everybody's soon after a heal."""
# ruff: noqa: SLF001 -- oracles see what no node can see

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import attrs

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg_sim.fault import Fault
from gossipreg_sim.faults import chosen
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.process import Process
from gossipreg_sim.world import SECOND, ns

#: Faults that keep some nodes from the others, or others from them, and leave everything else as it is.
APART: Final = ("cut", "flip-flop", "output-rejected", "slow", "freeze", "block")

#: Of these the faults after which the nodes that they struck are back at once as well, however often: a split of
#: which both sides are more than one node, and a host whose own kernel told it what was wrong.
_EXCUSED: Final = ("cut", "output-rejected")

#: For how long a healthy member may be out of the lookups of another (ns): a suspicion that many confirm, from the
#: first packet to the last refutation.
_OUT_MOST: Final = ns(1.0)

#: Within how long after a heal all that are not held back are in everybody's lookups (ns).
_BACK: Final = ns(10.0)


@attrs.frozen
class _Sick:
    """The smaller side of one fault, and when it lasts (ns)."""

    names: tuple[str, ...]
    begins: int
    ends: int
    is_excused: bool


@attrs.define
class StayInLookups(Oracle):
    """A node that no fault strikes is never out of the lookups of another such node for more than a moment.

    And ten seconds after each heal after which nothing else goes wrong for so long, all of these are in the lookups of
    everybody; likewise the nodes that the fault struck, if it was a split of several, or was known to the host itself.
    Out is a member that is believed failed, or suspected by so many that only others are called. Judged where each
    fault keeps a minority apart, or makes it slow, and nothing else is wrong; and where members look for those that
    failed as often as by default.
    """

    law: ClassVar[str] = "healthy members stay in lookups, and all are back within 10 s of a heal"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _sick: tuple[_Sick, ...] | None = None
    _held_back: frozenset[str] = frozenset()  # nodes that flap damping may hold back
    _out: dict[tuple[str, str], int] = attrs.field(factory=dict)  # (observer, member) -> since when (ns)
    _doubting: dict[str, None] = attrs.field(factory=dict)  # observers that had members in doubt after their last step

    def __attrs_post_init__(self) -> None:
        self._sick = self._find_sick()
        self._held_back = frozenset(name for sick in self._sick or () if not sick.is_excused for name in sick.names)

    def _find_sick(self) -> tuple[_Sick, ...] | None:
        """The smaller side of each fault; None where the law says nothing."""
        scenario = self.context.scenario
        if scenario.settings.reconnect_interval > EngineSettings().reconnect_interval:
            return None  # the two sides look for each other more seldom than the law takes for granted
        sick = []
        for fault in scenario.faults:
            if fault.kind not in APART or fault.permanent:
                return None
            rng = self.cluster.world.rng(f"fault {fault.name}")  # the very rng that the fault itself draws from
            names = chosen(fault.nodes, scenario, rng)
            others = [name for name in chosen(fault.to, scenario, rng) if name not in names]
            rest = [name for name in scenario.node_names if name not in names]
            if fault.kind in ("cut", "flip-flop") and sorted(others) != sorted(rest):
                return None
            few = min(names, rest, key=len)
            if not few or len(few) >= len(scenario.node_names) / 2:
                return None
            sick.append(self._struck(fault, tuple(few)))
        return tuple(sick) or None

    def _struck(self, fault: Fault, names: tuple[str, ...]) -> _Sick:
        begins = self.context.faults_at + ns(fault.at)
        ends = min(self.context.heal_at, begins + ns(fault.lasts)) if fault.lasts else self.context.heal_at
        split = fault.kind == "cut" and fault.both_ways and len(names) > 1
        return _Sick(names, begins, ends, is_excused=fault.kind in _EXCUSED and (split or fault.kind != "cut"))

    def see(self, process: Process, output: Output) -> None:
        """Note which members are failed, and which are back."""
        assert isinstance(output, MemberChanged), "nothing else is wanted"
        after = output.after
        if self._sick is None or after is None or after.name == process.name:
            return
        self._turn(process.name, after.name, is_out=after.status is Status.FAILED or self._doubts(process, after.name))

    def after(self, process: Process) -> None:
        """Note which members are in doubt; that changes without a word."""
        if self._sick is None or not (process.engine.state._deprioritized or process.name in self._doubting):
            return
        members = process.engine.members
        for update in members:
            if update.name != process.name:
                is_out = update.status is Status.FAILED or self._doubts(process, update.name)
                self._turn(process.name, update.name, is_out=is_out)
        if process.engine.state._deprioritized:
            self._doubting[process.name] = None
        else:
            self._doubting.pop(process.name, None)

    @staticmethod
    def _doubts(process: Process, name: str) -> bool:
        update = process.engine.members.get(name)
        return update is not None and update.status is Status.SUSPECT and name in process.engine.state._deprioritized

    def _turn(self, observer: str, member: str, *, is_out: bool) -> None:
        now = self.cluster.world.now
        if is_out:
            self._out.setdefault((observer, member), now)
        elif (observer, member) in self._out:
            self._judge(observer, member, self._out.pop((observer, member)), now)

    def _judge(self, observer: str, member: str, since: int, until: int) -> None:
        """Judge that ``observer`` had ``member`` out from ``since`` until ``until`` (ns)."""
        assert self._sick is not None, "else nothing is noted"
        pair = (observer, member)
        if not any(name in sick.names for sick in self._sick for name in pair):
            self.checks += 1
            if until - since > _OUT_MOST:
                text = f"had {member}, which nothing was wrong with, out for {(until - since) / SECOND:.1f} s"
                self.wrong(observer, text)
        if member not in self._held_back:
            for heal in self._heals():
                self.checks += 1
                if since < heal + _BACK < until:
                    self.wrong(observer, f"does not have {member} back 10 s after the heal at {heal / SECOND:.1f} s")

    def _heals(self) -> Iterator[int]:
        """The ends of faults after which nothing goes wrong for long enough (ns)."""
        assert self._sick is not None, "else nothing is judged"
        for sick in self._sick:
            if not any(other.begins < sick.ends + _BACK and other.ends > sick.ends for other in self._sick):
                yield sick.ends

    def finish(self) -> None:
        """Judge those that are out still."""
        for (observer, member), since in self._out.items():
            if self.cluster.living(observer) and self.cluster.living(member):
                self._judge(observer, member, since, self.cluster.world.now)
        if self._sick is None:
            self.not_applicable("not all that goes wrong keeps a minority apart, or makes it slow")
        else:
            self.checks += 1
