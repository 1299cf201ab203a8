"""Indirect answers: the members that do not answer this node's pings themselves, or through other members only.

Such a member is alive, so the failure detector is content; but what passes between it and this node is lost, in one
direction or in both. Whether its own packets arrive tells the direction.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from gossipreg.values import frozen

#: Probes in a row that only others must have answered. One is common where packets get lost.
_TIMES = 2

#: The same where nothing of the member has arrived since the first of them: its own probe of this node may be due yet.
_SILENT_TIMES = 3

#: The most unanswered pings that are told: what a byte holds.
_UNANSWERED_MAX = 255

#: Probes during which a packet of the member counts as lately heard: it need not send one between any two.
_HEARD_PROBES = 4


@attrs.define(eq=False, repr=False)
class _Evidence:
    times: int = 0  # probes in a row
    since: float = 0.0  # when the first of these was answered (seconds)
    quiet: int | None = None  # how many of them since the member's own packets last came; None: none has come


@frozen
class Indirect:
    """That a member has answered through others only ``since`` a moment (seconds); ``is_heard``: its packets arrive."""

    since: float
    is_heard: bool


@attrs.define(eq=False, repr=False)
class IndirectAnswers:
    """The evidence, by run id. It decides nothing about membership."""

    _evidence: dict[int, _Evidence] = attrs.field(factory=dict)
    _unanswered: dict[int, int] = attrs.field(factory=dict)  # pings in a row, by run id

    def no_answer(self, run_id: int) -> None:
        """The member ``run_id`` itself has not answered a ping in time: others are asked to ping it."""
        self._unanswered[run_id] = min(_UNANSWERED_MAX, self.unanswered(run_id) + 1)

    def unanswered(self, run_id: int) -> int:
        """How many pings in a row the member ``run_id`` itself has not answered in time.

        One is common where packets get lost: it is told to people who watch, and nothing follows from it.
        """
        return self._unanswered.get(run_id, 0)

    def through_others(self, run_id: int, now: float) -> None:
        """A probe of ``run_id`` was answered by another member's word."""
        evidence = self._evidence.setdefault(run_id, _Evidence(since=now))
        evidence.times += 1
        if evidence.quiet is not None:
            evidence.quiet += 1

    def directly(self, run_id: int) -> None:
        """The member ``run_id`` itself has answered a ping of this node."""
        self._evidence.pop(run_id, None)
        self._unanswered.pop(run_id, None)

    def heard(self, run_id: int) -> None:
        """A packet or frame of ``run_id`` came in."""
        if self._evidence and (evidence := self._evidence.get(run_id)) is not None:
            evidence.quiet = 0

    def find(self, run_id: int) -> Indirect | None:
        """Since when ``run_id`` answers through others only; None if it does not."""
        evidence = self._evidence.get(run_id)
        if evidence is None:
            return None
        is_heard = evidence.quiet is not None and evidence.quiet < _HEARD_PROBES
        if evidence.times < (_TIMES if is_heard else _SILENT_TIMES):
            return None
        return Indirect(evidence.since, is_heard)

    def found(self) -> dict[int, Indirect]:
        """All that `find` finds, by run id."""
        return {run_id: indirect for run_id in self._evidence if (indirect := self.find(run_id)) is not None}

    def keep(self, known: Callable[[int], bool]) -> None:
        """Forget the runs that are not ``known`` any more."""
        self._evidence = {run_id: each for run_id, each in self._evidence.items() if known(run_id)}
        self._unanswered = {run_id: count for run_id, count in self._unanswered.items() if known(run_id)}
