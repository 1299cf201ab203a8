"""Admission: the rate at which newcomers may evict strangers when no more members can be remembered.

Nodes that are full of made-up members hold different ones. If each member that a peer reports could evict another, the
nodes would evict each other's for ever; so the rate is low. Newcomers that send packets themselves, from their own
host, are admitted by the hundred: each of those costs as many packets, and a host.
"""

from __future__ import annotations

import attrs

from gossipreg import limits


@attrs.define(eq=False, repr=False)
class Admission:
    """Two token buckets: for newcomers that peers report, and for those that send packets themselves."""

    _left: dict[bool, float] = attrs.field(factory=dict)  # whether in person -> how many may enter now
    _filled_at: float = 0.0

    def try_admit(self, now: float, *, in_person: bool) -> bool:
        """Whether one more newcomer may evict a stranger at ``now`` (seconds); if so, it is counted as admitted."""
        elapsed = max(0.0, now - self._filled_at)
        self._filled_at = now
        rates = {False: limits.NEWCOMERS_PER_SECOND_MAX, True: limits.NEWCOMERS_IN_PERSON_PER_SECOND_MAX}
        for which, rate in rates.items():
            self._left[which] = min(float(rate), self._left.get(which, rate) + elapsed * rate)
        if self._left[in_person] < 1.0:
            return False
        self._left[in_person] -= 1.0
        return True
