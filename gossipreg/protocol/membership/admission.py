"""Admission: how many newcomers may push out strangers in a while, where no more members can be remembered.

Nodes that are full of made-up members hold different ones. Were each that a peer tells of let in at the cost of
another, the nodes would go on pushing out each other's for ever; so these are few. Newcomers that speak for themselves,
from their own host, are let in by the hundred: for those one needs as many packets, and a host.
"""

from __future__ import annotations

import attrs

from gossipreg import limits


@attrs.define(eq=False, repr=False)
class Admission:
    """Two allowances that fill up with time: for newcomers that peers tell of, and for those that speak themselves."""

    _left: dict[bool, float] = attrs.field(factory=dict)  # whether in person -> how many may enter now
    _filled_at: float = 0.0

    def may_enter(self, now: float, *, in_person: bool) -> bool:
        """Whether one more newcomer may push out a stranger at ``now`` (seconds); if so, it is taken as let in."""
        elapsed = max(0.0, now - self._filled_at)
        self._filled_at = now
        rates = {False: limits.NEWCOMERS_PER_SECOND_MAX, True: limits.NEWCOMERS_IN_PERSON_PER_SECOND_MAX}
        for which, rate in rates.items():
            self._left[which] = min(float(rate), self._left.get(which, rate) + elapsed * rate)
        if self._left[in_person] < 1.0:
            return False
        self._left[in_person] -= 1.0
        return True
