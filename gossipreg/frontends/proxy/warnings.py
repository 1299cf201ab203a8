"""Warnings of one port of the balancer: each kind is logged at a low rate, and none hides another."""

from __future__ import annotations

import logging

import attrs
import trio

from gossipreg.frontends.proxy.limits import COMPLAINT_SECONDS

log = logging.getLogger(__name__)


@attrs.define(eq=False, repr=False)
class RateLimitedWarnings:
    """Logs a warning unless the same sentence, with whatever values, was logged a moment ago."""

    _logged_at: dict[str, float] = attrs.field(init=False, factory=dict)

    def warn(self, sentence: str, *values: object) -> None:
        """Log ``sentence``, a format of ours, with its ``values``; at most once in ``COMPLAINT_SECONDS``."""
        now = trio.current_time()
        before = self._logged_at.get(sentence)
        if before is None or now - before >= COMPLAINT_SECONDS:
            self._logged_at[sentence] = now
            log.warning(sentence, *values)
