"""Record requests: the tables of which this node lacks something, and the member that holds them whole.

A digest says which version of a table its sender holds. A node that holds less asks that member for what it lacks, at
once or, while records of that owner are still arriving, a little later. The answer comes in packets, as much as fits a
few of them; a request that brought something is followed by another. What is left is left to reconciliation.
"""

from __future__ import annotations

import math

import attrs

from gossipreg import limits
from gossipreg.protocol.membership.member_update import Destination

#: How often one table is requested after a digest, if it does not become whole.
_TRIES = 3


@attrs.define(eq=False, repr=False)
class _Wanted:
    source: Destination | None
    due: float
    tries: int = 0


@attrs.define(eq=False, repr=False)
class RecordRequests:
    """The tables to be requested. ``gap`` is the first wait for an answer, which doubles (seconds)."""

    gap: float
    _wanted: dict[str, _Wanted] = attrs.field(factory=dict)  # owner -> whom to ask, and when
    deadline: float = math.inf  # when the next request is due (seconds)

    def want(self, owner: str, source: Destination | None, now: float, *, wait: float) -> None:
        """Request what is lacking of the table of ``owner`` in ``wait`` seconds, from ``source`` or any member."""
        held = self._wanted.get(owner)
        if held is not None:
            held.source = source or held.source
        elif len(self._wanted) < limits.TABLES_REQUESTED_MAX:
            self._wanted[owner] = _Wanted(source, now + wait)
            self._reset_deadline()

    def got(self, owner: str) -> None:
        """The table of ``owner`` is whole, or gone."""
        if self._wanted.pop(owner, None) is not None:
            self._reset_deadline()

    def take_due(self, now: float) -> list[tuple[str, Destination | None]]:
        """The tables to be requested now, and where (None: anywhere); each is tried again elsewhere, a few times."""
        if now < self.deadline:
            return []
        due = [(owner, None if each.tries else each.source) for owner, each in self._wanted.items() if each.due <= now]
        for owner, _ in due:
            wanted = self._wanted[owner]
            wanted.due = now + self.gap * 2**wanted.tries
            wanted.tries += 1
            if wanted.tries == _TRIES:
                del self._wanted[owner]
        self._reset_deadline()
        return due

    def _reset_deadline(self) -> None:
        self.deadline = min([each.due for each in self._wanted.values()], default=math.inf)
