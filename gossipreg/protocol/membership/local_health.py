"""Local health: Lifeguard's score of how far this node trusts its own observations (§IV-A)."""

from __future__ import annotations

import attrs


@attrs.define(eq=False, repr=False)
class LocalHealth:
    """A score from 0 (healthy) to ``worst``. Probes take ``score + 1`` times as long to start and to give up.

    A node that misses acks, misses nacks that its helpers owed it, or has to refute suspicions is probably slow itself;
    so it gives others more time before it accuses them.
    """

    worst: int
    score: int = 0

    def better(self) -> None:
        """An ack came in time."""
        self.score = max(0, self.score - 1)

    def worse(self, steps: int = 1) -> None:
        """A probe failed, a nack was missed, or a suspicion of this node had to be refuted."""
        self.score = min(self.worst, self.score + steps)

    def stretch(self, seconds: float) -> float:
        """``seconds``, stretched by the score."""
        return seconds * (self.score + 1)
