"""Send errors: packets and connections that this host's own kernel refused, counted by errno and logged seldom."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import Counter
from collections.abc import Callable

import attrs

from gossipreg.model import Address
from gossipreg.runtime.log_limiter import LogLimiter

log = logging.getLogger(__name__)

#: Least time between two lines about one errno (seconds), and how many errnos are told apart.
_REPEAT_SECONDS = 60.0
_ERRNOS_MAX = 32

#: How long an error counts as a trouble (seconds): longer than from one try of a failed member to the next.
_PROBLEM_SECONDS = 10.0


@attrs.define(eq=False, repr=False)
class SendErrors:
    """How often the kernel refused to send, by the name of the errno, and the last such refusal."""

    counts: Counter[str] = attrs.field(factory=Counter)
    clock: Callable[[], float] = time.monotonic  # seconds
    _last: tuple[str, float] = ("", float("-inf"))  # a sentence, and when
    _log_limiter: LogLimiter = attrs.field(factory=lambda: LogLimiter(_REPEAT_SECONDS, _ERRNOS_MAX))

    def record(self, error: Exception, to: Address) -> None:
        """Something could not be sent to ``to``. An address that no socket takes has the name ``EADDRESS``."""
        number = getattr(error, "errno", None)
        name = errno.errorcode.get(number or 0, "EADDRESS")
        reason = os.strerror(number) if number is not None and number > 0 else "not an address of this socket's family"
        self.counts[name] += 1
        now = self.clock()
        sentence = f"cannot send to {to}: {reason} ({name})"
        self._last = sentence, now
        if self._log_limiter.admit(name, now):
            log.warning("%s; %d times so far", sentence, self.counts[name])

    @property
    def problem(self) -> str | None:
        """The last error, if that was lately."""
        sentence, at = self._last
        return sentence if self.clock() - at <= _PROBLEM_SECONDS else None
