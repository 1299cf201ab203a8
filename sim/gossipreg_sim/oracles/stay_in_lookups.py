"""Oracle 21: healthy members stay in the lookups of their side, and all are back in all lookups soon after a heal."""
# ruff: noqa: SLF001 -- oracles see the private state of nodes

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

#: Faults that separate some nodes from others, in one direction or both, and have no other effect.
APART: Final = ("cut", "flip-flop", "output-rejected", "slow", "freeze", "block")

#: Of these, the faults whose nodes are also back at once, however often they failed: a split with more than one node
#: on each side, and a host whose own kernel reports the fault.
_EXCUSED: Final = ("cut", "output-rejected")

#: How long a healthy member may be missing from another's lookups (ns): a suspicion with many confirmations, from the
#: first packet to the last refutation.
_MISSING_MAX: Final = ns(1.0)

#: Time after a heal within which all members that flap damping does not suppress are in all lookups (ns).
_RETURN: Final = ns(10.0)


@attrs.frozen
class _Minority:
    """The smaller side of one fault, and the time that the fault lasts (ns)."""

    names: tuple[str, ...]
    begins: int
    ends: int
    is_excused: bool


@attrs.define
class StayInLookups(Oracle):
    """A node without a fault is never missing from the lookups of another such node for more than a moment.

    Ten seconds after a heal that no other fault follows within that time, all these nodes are in all lookups; so are
    the nodes with the fault, if it was a split of several nodes or one that the host's own kernel reported. A member is
    missing while it is believed failed, or is deprioritized by a confirmed suspicion. Checked in scenarios whose only
    faults separate or slow down a minority, and in which reconnects are as frequent as by default.
    """

    law: ClassVar[str] = "healthy members stay in lookups, and all are back within 10 s of a heal"
    wants: ClassVar[tuple[type[Any], ...]] = (MemberChanged,)

    _minorities: tuple[_Minority, ...] | None = None
    _suppressed: frozenset[str] = frozenset()  # nodes that flap damping may suppress
    _missing: dict[tuple[str, str], int] = attrs.field(factory=dict)  # (observer, member) -> missing since (ns)
    _deprioritizing: dict[str, None] = attrs.field(factory=dict)  # observers with deprioritized members

    def __attrs_post_init__(self) -> None:
        self._minorities = self._find_minorities()
        self._suppressed = frozenset(
            name for minority in self._minorities or () if not minority.is_excused for name in minority.names
        )

    def _find_minorities(self) -> tuple[_Minority, ...] | None:
        """Return the smaller side of each fault; None if the law does not apply."""
        scenario = self.context.scenario
        if scenario.settings.reconnect_interval > EngineSettings().reconnect_interval:
            return None  # the law assumes reconnects at the default interval
        minority = []
        for fault in scenario.faults:
            if fault.kind not in APART or fault.permanent:
                return None
            rng = self.cluster.world.rng(f"fault {fault.name}")  # the same stream that the fault itself draws from
            names = chosen(fault.nodes, scenario, rng)
            others = [name for name in chosen(fault.to, scenario, rng) if name not in names]
            rest = [name for name in scenario.node_names if name not in names]
            if fault.kind in ("cut", "flip-flop") and sorted(others) != sorted(rest):
                return None
            few = min(names, rest, key=len)
            if not few or len(few) >= len(scenario.node_names) / 2:
                return None
            minority.append(self._minority_of(fault, tuple(few)))
        return tuple(minority) or None

    def _minority_of(self, fault: Fault, names: tuple[str, ...]) -> _Minority:
        begins = self.context.faults_at + ns(fault.at)
        ends = min(self.context.heal_at, begins + ns(fault.lasts)) if fault.lasts else self.context.heal_at
        split = fault.kind == "cut" and fault.both_ways and len(names) > 1
        return _Minority(names, begins, ends, is_excused=fault.kind in _EXCUSED and (split or fault.kind != "cut"))

    def see(self, process: Process, output: Output) -> None:
        """Note members that fail, and those that are back."""
        assert isinstance(output, MemberChanged), "the oracle receives only what it wants"
        after = output.after
        if self._minorities is None or after is None or after.name == process.name:
            return
        self._turn(
            process.name,
            after.name,
            is_missing=after.status is Status.FAILED or self._is_deprioritized(process, after.name),
        )

    def after(self, process: Process) -> None:
        """Note deprioritized members: that state changes without an output."""
        if self._minorities is None or not (
            process.engine.state._deprioritized or process.name in self._deprioritizing
        ):
            return
        members = process.engine.members
        for update in members:
            if update.name != process.name:
                is_missing = update.status is Status.FAILED or self._is_deprioritized(process, update.name)
                self._turn(process.name, update.name, is_missing=is_missing)
        if process.engine.state._deprioritized:
            self._deprioritizing[process.name] = None
        else:
            self._deprioritizing.pop(process.name, None)

    @staticmethod
    def _is_deprioritized(process: Process, name: str) -> bool:
        update = process.engine.members.get(name)
        return update is not None and update.status is Status.SUSPECT and name in process.engine.state._deprioritized

    def _turn(self, observer: str, member: str, *, is_missing: bool) -> None:
        now = self.cluster.world.now
        if is_missing:
            self._missing.setdefault((observer, member), now)
        elif (observer, member) in self._missing:
            self._evaluate(observer, member, self._missing.pop((observer, member)), now)

    def _evaluate(self, observer: str, member: str, since: int, until: int) -> None:
        """Check that ``observer`` was not without ``member`` for too long, from ``since`` until ``until`` (ns)."""
        assert self._minorities is not None, "times are noted only if the law applies"
        pair = (observer, member)
        if not any(name in minority.names for minority in self._minorities for name in pair):
            self.checks += 1
            if until - since > _MISSING_MAX:
                text = f"missed the healthy member {member} for {(until - since) / SECOND:.1f} s"
                self.wrong(observer, text)
        if member not in self._suppressed:
            for heal in self._heals():
                self.checks += 1
                if since < heal + _RETURN < until:
                    self.wrong(observer, f"still misses {member} 10 s after the heal at {heal / SECOND:.1f} s")

    def _heals(self) -> Iterator[int]:
        """Yield the ends of faults that no other fault follows for long enough (ns)."""
        assert self._minorities is not None, "heals are checked only if the law applies"
        for minority in self._minorities:
            if not any(
                other.begins < minority.ends + _RETURN and other.ends > minority.ends for other in self._minorities
            ):
                yield minority.ends

    def finish(self) -> None:
        """Check the members that are still missing."""
        for (observer, member), since in self._missing.items():
            if self.cluster.running(observer) and self.cluster.running(member):
                self._evaluate(observer, member, since, self.cluster.world.now)
        if self._minorities is None:
            self.not_applicable("not all faults separate or slow down a minority")
        else:
            self.checks += 1
