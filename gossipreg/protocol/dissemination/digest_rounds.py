"""Digest rounds: which owners' table digests this node tells other members after their tables have changed.

Theory of operation (docs/decisions/0062). A record that a whole tree has acknowledged needs no repetition. But a
parent may have died between its receipt and its children's; and where members see different trees, some members may be
in none of them. So
when an owner's table has been quiet for a while (`gossip_tree_gap`) a node tells its digest, some 40 bytes however much
has changed, to a member at random, and then piggybacks it on probes and acks. A member that lacks something requests
it (`record_requests`). This is the lazy push of Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007) with one digest in
place of one announcement a message, and the gossip of digests of Bimodal Multicast (Birman et al., TOCS 1999).

A table that changes every few gaps would have a digest told after each change. So each digest that follows another
within a second waits twice as long as that one, up to 8 gaps: a node that missed a record of such a table also learns
of it by the gap in the versions of the next one (docs/decisions/0066).
"""

from __future__ import annotations

import math
from itertools import islice

import attrs

from gossipreg.values import frozen

#: The longest that the digest of a table that keeps changing is held back, in gaps.
_GAPS_MAX = 10

#: How much longer a table is to be quiet whose digest was told a moment ago, at the most (times the gap).
_PACE_MAX = 8

#: For how long a digest counts as told a moment ago, in gaps.
_PACE_GAPS = 20

#: The share of its gap after which a digest goes along with another that is due.
_EARLY = 0.5

#: How often a digest is piggybacked on probes and acks, after its own packet.
_PIGGYBACKS = 3

#: For how many gaps a digest may wait to be piggybacked.
_PIGGYBACK_GAPS = 200


@frozen
class _Waiting:
    first: float  # when the table changed first since its digest was last told (seconds)
    due: float
    told: int = 0  # rounds since it changed


@attrs.define(eq=False, repr=False)
class DigestRounds:
    """The owners whose tables have changed lately. ``gap`` is how long a table is to be quiet (seconds)."""

    gap: float
    _waiting: dict[str, _Waiting] = attrs.field(factory=dict)  # by owner
    _next: float | None = math.inf  # when the first of them is due; None: to be found again
    _paces: dict[str, tuple[float, int]] = attrs.field(
        factory=dict
    )  # owner -> when its digest was told, its wait in gaps
    _told: dict[str, tuple[float, int]] = attrs.field(factory=dict)  # owner -> when its digest was sent, piggybacks

    def __len__(self) -> int:
        return len(self._waiting) + len(self._told)

    @property
    def deadline(self) -> float:
        """When the next digest is due (seconds), or infinity."""
        if self._next is None:
            self._next = min((each.due for each in self._waiting.values()), default=math.inf)
        return self._next

    def changed(self, owner: str, now: float) -> None:
        """The table of ``owner`` has changed, and others may not know."""
        self._told.pop(owner, None)
        held = self._waiting.get(owner)
        gap = self._pace(owner, now) * self.gap
        if held is None or held.told:
            self._wait(owner, _Waiting(now, now + gap))
        elif now <= held.first + _GAPS_MAX * self.gap:
            self._wait(owner, _Waiting(held.first, now + gap))

    def _pace(self, owner: str, now: float) -> int:
        """How long the table of ``owner`` is to be quiet, in gaps."""
        told, pace = self._paces.get(owner, (-math.inf, 0))
        return min(2 * pace, _PACE_MAX) if now < told + _PACE_GAPS * self.gap else 1

    def _wait(self, owner: str, waiting: _Waiting) -> None:
        before = self._waiting.pop(owner, None)  # it goes to the end: owners are told in the order of their changes
        self._waiting[owner] = waiting
        if before is not None and before.due == self._next:
            self._next = None
        elif self._next is not None:
            self._next = min(self._next, waiting.due)

    def is_fresh(self, owner: str) -> bool:
        """Whether the table of ``owner`` has changed since its digest was last told."""
        held = self._waiting.get(owner)
        return held is not None and not held.told

    def take_due(self, now: float, *, rounds: int) -> list[str]:
        """The owners whose digests go to a member now, each in ``rounds`` rounds; none as long as none is due."""
        if self.deadline > now:
            return []
        self._next = None
        self._paces = {owner: each for owner, each in self._paces.items() if now < each[0] + _PACE_GAPS * self.gap}
        early = now + (1 - _EARLY) * self.gap
        due = [(owner, each) for owner, each in self._waiting.items() if each.due <= early]
        for owner, each in due:
            if each.told + 1 < rounds:
                self._wait(owner, _Waiting(each.first, now + self.gap, each.told + 1))
            else:
                del self._waiting[owner]
                self._told[owner] = now, 0
                self._paces[owner] = now, self._pace(owner, now)
        return [owner for owner, _ in due]

    def piggyback(self, count: int, now: float) -> list[str]:
        """Up to ``count`` owners whose digests go along with a packet that is sent anyway."""
        owners: list[str] = []
        for owner, (since, piggybacks) in list(islice(self._told.items(), count)):
            del self._told[owner]
            if since < now - _PIGGYBACK_GAPS * self.gap:
                continue
            owners.append(owner)
            if piggybacks + 1 < _PIGGYBACKS:
                self._told[owner] = since, piggybacks + 1
        return owners
