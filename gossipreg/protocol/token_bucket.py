"""Token bucket: how often something may be done, with a burst."""

from __future__ import annotations

import attrs


@attrs.define(eq=False, repr=False)
class TokenBucket:
    """Tokens that come back with time. It may be overdrawn by the cost of what was admitted."""

    size: float
    rate: float  # a second
    filled_at: float  # s
    tokens: float = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tokens = self.size

    def fill(self, now: float) -> bool:
        """Bring it up to ``now``; whether a token is there. A clock that was set back fills nothing."""
        self.tokens = min(self.size, self.tokens + max(0.0, now - self.filled_at) * self.rate)
        self.filled_at = now
        return self.tokens >= 1
