"""Record requests: which owners' tables are incomplete here, and when to request the missing records from which member.

A table holds the records of one owner. A digest says which version of it the sender holds. A node that holds less
requests the missing records from the sender: at once or, while records of that owner are still arriving, a little
later. One answer is limited to a few packets, so the request is repeated. After the last attempt anti-entropy supplies
what is still missing.

Where members have an identity, digests are sent without their signature. So a node does not trust a digest: it uses
it only to decide what to request, and the records in the answer are signed. With a false digest a peer causes a few
requests, which it could as well have sent itself.
"""

from __future__ import annotations

import math

import attrs

from gossipreg import limits
from gossipreg.protocol.membership.member_update import Destination

#: How many times one table is requested, if it does not become complete.
_TRIES = 3


@attrs.define(eq=False, repr=False)
class WantedTable:
    """A table that is incomplete here, or of which a peer claims to hold a later version."""

    owner: str
    source: Destination | None  # the member to ask; None: any
    due: float
    tries: int = 0
    generation: int = 0  # with version: what the source claims to hold; 0: no claim, this node knows its gaps
    version: int = 0


@attrs.define(eq=False, repr=False)
class RecordRequests:
    """The tables to be requested. ``gap``: wait after the first attempt (seconds); it doubles with each attempt."""

    gap: float
    _wanted: dict[str, WantedTable] = attrs.field(factory=dict)  # by owner
    deadline: float = math.inf  # when the next request is due (seconds)

    def want(self, owner: str, source: Destination | None, now: float, *, wait: float) -> None:
        """Schedule a request for the table of ``owner`` in ``wait`` seconds, to ``source`` or, if None, any member.

        A table that is already wanted keeps its schedule.
        """
        held = self._wanted.get(owner)
        if held is not None:
            held.source = source or held.source
        elif len(self._wanted) < limits.TABLES_REQUESTED_MAX:
            self._wanted[owner] = WantedTable(owner, source, now + wait)
            self._reset_deadline()

    def want_told(
        self, owner: str, generation: int, version: int, source: Destination, now: float, *, wait: float
    ) -> None:
        """As `want`, from ``source``, whose digest claims that it holds ``version`` of that ``generation``."""
        self.want(owner, source, now, wait=wait)
        held = self._wanted.get(owner)
        if held is not None and (generation, version) > (held.generation, held.version):
            held.generation, held.version = generation, version

    def got(self, owner: str) -> None:
        """Stop requesting the table of ``owner``: it is complete now, or no longer wanted."""
        if self._wanted.pop(owner, None) is not None:
            self._reset_deadline()

    def take_due(self, now: float) -> list[WantedTable]:
        """The tables to request now. Each is rescheduled, for any member, until it was tried `_TRIES` times."""
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
