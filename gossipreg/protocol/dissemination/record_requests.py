"""Record requests: the tables of which this node lacks something, and the member that holds them whole.

A digest says which version of a table its sender holds. A node that holds less asks that member for what it lacks, at
once or, while records of that owner are still arriving, a little later. The answer comes in packets, as much as fits a
few of them; a request that brought something is followed by another. What is left is left to reconciliation.

With identity a digest is told without its proof, and not believed: it says only what may be requested, and what
answers such a request is signed. A liar causes requests, a few for each of its digests, and could send as many itself.
"""

from __future__ import annotations

import math

import attrs

from gossipreg import limits
from gossipreg.protocol.membership.member_update import Destination

#: How often one table is requested after a digest, if it does not become whole.
_TRIES = 3


@attrs.define(eq=False, repr=False)
class WantedTable:
    """A table that this node does not hold whole, or of which a peer says that it holds more."""

    owner: str
    source: Destination | None  # the member to ask; None: any
    due: float
    tries: int = 0
    generation: int = 0  # of the version that the source says it holds; 0: what is lacking is known here
    version: int = 0


@attrs.define(eq=False, repr=False)
class RecordRequests:
    """The tables to be requested. ``gap`` is the first wait for an answer, which doubles (seconds)."""

    gap: float
    _wanted: dict[str, WantedTable] = attrs.field(factory=dict)  # by owner
    deadline: float = math.inf  # when the next request is due (seconds)

    def want(self, owner: str, source: Destination | None, now: float, *, wait: float) -> None:
        """Request what is lacking of the table of ``owner`` in ``wait`` seconds, from ``source`` or any member."""
        held = self._wanted.get(owner)
        if held is not None:
            held.source = source or held.source
        elif len(self._wanted) < limits.TABLES_REQUESTED_MAX:
            self._wanted[owner] = WantedTable(owner, source, now + wait)
            self._reset_deadline()

    def want_told(
        self, owner: str, generation: int, version: int, source: Destination, now: float, *, wait: float
    ) -> None:
        """Request the table of ``owner`` of ``source``, which says that it holds that version, in ``wait`` seconds."""
        self.want(owner, source, now, wait=wait)
        held = self._wanted.get(owner)
        if held is not None and (generation, version) > (held.generation, held.version):
            held.generation, held.version = generation, version

    def got(self, owner: str) -> None:
        """The table of ``owner`` is whole, or gone."""
        if self._wanted.pop(owner, None) is not None:
            self._reset_deadline()

    def take_due(self, now: float) -> list[WantedTable]:
        """The tables to be requested now; each is tried again elsewhere, a few times."""
        if now < self.deadline:
            return []
        due = [each for each in self._wanted.values() if each.due <= now]
        for wanted in due:
            if wanted.tries:
                wanted.source = None
            wanted.due = now + self.gap * 2**wanted.tries
            wanted.tries += 1
            if wanted.tries == _TRIES:
                del self._wanted[wanted.owner]
        self._reset_deadline()
        return due

    def _reset_deadline(self) -> None:
        self.deadline = min([each.due for each in self._wanted.values()], default=math.inf)
