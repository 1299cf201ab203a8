"""Knows when this node last heard from others, and so whether it is fit to judge them.

In the Lifeguard experiment nearly all false positives come from observers that were themselves cut off. A node
that hears nobody cannot tell a dead cluster from a dead network card, so it calls itself isolated and judges no
one (design §4.2, "a verdict needs a witness").
"""

from __future__ import annotations

import attrs


@attrs.define(eq=False, repr=False)
class Hearing:
    """The last two distinct lives that were heard from, and when (seconds)."""

    started: float
    _last: tuple[int, float] = (0, -1.0)
    _other: tuple[int, float] = (0, -1.0)

    def heard(self, life: int, now: float) -> None:
        """A packet of the member ``life`` came in."""
        if life != self._last[0]:
            self._other = self._last
        self._last = (life, now)

    def expect(self, now: float) -> None:
        """From ``now`` on there is a member to be heard: what was silent before was nobody."""
        self.started = now

    def silence(self, now: float) -> float:
        """How long nobody has been heard (seconds)."""
        return now - self.last

    @property
    def last(self) -> float:
        """When a member was last heard, or when this node began (seconds)."""
        return max(self.started, self._last[1])

    def has_witness(self, accused: int, since: float) -> bool:
        """Whether anybody but the life ``accused`` was heard after ``since``."""
        life, at = self._last if self._last[0] != accused else self._other
        return life != 0 and at > since
