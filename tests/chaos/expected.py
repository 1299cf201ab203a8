"""Expected states: the states that each instance, policy and host may be in after a history.

An acknowledged operation changes a state. One with an unknown outcome may have done so, and may do so later, until the
agent's run ends: a request can wait in the socket of a stopped agent. So a model is a set of possible states, and a
view is right if it shows one of them, the same one on all agents.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import attrs

from tests.chaos.history import Done
from tests.chaos.plan import LONG_TTL, SHORT_TTL, Operation

#: A heartbeat answered this shortly before an agent's end may not be on its disk (seconds): the guarantee is half a
#: second.
_BEAT_SECONDS: Final = 3.0


@attrs.frozen
class State:
    """One instance at its owner. ``op`` is the current registration, None if it is not registered."""

    op: int | None = None
    health: str = ""
    maintained: bool = False
    has_heartbeats: bool = False  # it has a heartbeat check

    def after(self, operation: Operation) -> State:
        """Return the state after the operation."""
        if operation.kind == "register":
            maintained = self.maintained and self.op is not None
            return State(operation.number, self._health_after(operation), maintained, operation.ttl == LONG_TTL)
        if operation.kind == "deregister" or self.op is None:
            return State()
        if operation.kind == "beat":
            return attrs.evolve(self, health=operation.health)
        return attrs.evolve(self, maintained=operation.on)

    def _health_after(self, operation: Operation) -> str:
        if operation.ttl == LONG_TTL:  # a new check is critical until the first heartbeat
            return self.health if self.op is not None else "critical"
        return "critical" if operation.ttl == SHORT_TTL else "passing"


@attrs.define
class Instance:
    """The possible states of one instance of one owner."""

    states: set[State] = attrs.field(factory=lambda: {State()})
    busy: int = 0  # operations in progress
    changed: float = -math.inf  # when the last operation ended
    _before_beats: list[tuple[float, frozenset[State]]] = attrs.field(factory=list)  # time, states before it
    _late: list[Operation] = attrs.field(factory=list)  # unknown operations that may still happen

    def done(self, done: Done) -> None:
        """An operation on it has ended."""
        self.busy -= 1
        self.changed = done.at
        if done.outcome == "refused":
            return
        if done.operation.kind == "beat":
            self._before_beats.append((done.at, frozenset(self.states)))
        changed = {state.after(done.operation) for state in self.states}
        if done.outcome == "ok":
            self.states = changed
        else:
            self.states |= changed
            self._late.append(done.operation)
        self._with_late()

    def ended(self, at: float, *, kept: bool) -> None:
        """The owner has exited. The last heartbeats may not have been on its disk yet.

        ``kept``: no fault affected its disk or its clock since the last check, so that no older ones are lost.
        """
        self._late.clear()
        recent = [states for time, states in self._before_beats if not kept or time > at - _BEAT_SECONDS]
        healths = {state.health for states in recent for state in states}
        if not kept:
            healths.add("critical")
        has_heartbeats = {state for state in self.states if state.has_heartbeats}
        self.states |= {attrs.evolve(state, health=health) for state in has_heartbeats for health in healths}
        self._before_beats.clear()

    def wiped(self) -> None:
        """The owner lost its disk."""
        self.states = {State()}
        self._before_beats.clear()

    def settled(self, op: int | None, healths: Iterable[str]) -> None:
        """All agents agreed on this, and all said before is over."""
        self._late.clear()
        self._before_beats.clear()
        agreed = {state for state in self.states if state.op == op}
        closer = {state for state in agreed if state.maintained or state.health in healths}
        self.states = closer or agreed or self.states

    def _with_late(self) -> None:
        for _ in self._late:  # in any order, any of them
            self.states |= {state.after(operation) for operation in self._late for state in self.states}


@attrs.define
class PolicyWrite:
    """What an operation wrote to a policy. ``op`` is its number, None for a removal."""

    op: int | None
    host: int
    begin: float
    end: float  # inf while an unknown one may still happen
    stamp: float = 0.0  # seconds since the epoch, by the writer's clock; 0: not known
    sure: bool = True

    def is_before(self, other: PolicyWrite, *, skewed: bool) -> bool:
        """Whether the other surely replaces this one if both happened.

        ``skewed``: clocks were wrong at some time, so that only stamps and the sequence of one host give an order.
        """
        if self.stamp and other.stamp:
            return other.stamp - self.stamp > _SAME_STAMP
        in_turn = other.begin > self.end
        return in_turn and (self.host == other.host or not skewed)


#: Difference of stamps (seconds) below which their order is unknown: they are whole milliseconds and a hidden counter.
_SAME_STAMP: Final = 0.0015


@attrs.define
class Policy:
    """The writes of one key since the last check."""

    writes: list[PolicyWrite] = attrs.field(factory=lambda: [PolicyWrite(None, -1, -math.inf, -math.inf)])

    def done(self, done: Done) -> None:
        """An operation on it has ended."""
        unknown = done.outcome == "unknown"
        if done.outcome != "refused":
            operation = done.operation
            op = operation.number if operation.kind == "set" else None
            end = math.inf if unknown else done.at
            self.writes.append(PolicyWrite(op, operation.host, done.begin, end, done.stamp, sure=not unknown))

    def ended(self, host: int, at: float) -> None:
        """A host's agent has exited, with its pending requests."""
        for write in self.writes:
            if write.host == host:
                write.end = min(write.end, at)

    def wiped(self, host: int) -> None:
        """Writes that it acknowledged since the last check may be lost: it is unknown whether they had spread."""
        for write in self.writes:
            if write.host == host:
                write.sure = False

    def possible(self, *, skewed: bool) -> set[int | None]:
        """Return the operations that may be in force; None means no policy."""
        sure = [write for write in self.writes if write.sure]
        return {write.op for write in self.writes if not any(write.is_before(other, skewed=skewed) for other in sure)}

    def settled(self, op: int | None, at: float) -> None:
        """All agents agreed on this."""
        stamps = [write.stamp for write in self.writes if write.op == op and write.op is not None]
        self.writes = [PolicyWrite(op, -1, -math.inf, at, max(stamps, default=0.0))]
