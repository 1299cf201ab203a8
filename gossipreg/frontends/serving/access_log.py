"""Knows what is logged of a request: one line, of a level that says whether anybody should care."""

from __future__ import annotations

import logging

import attrs

log = logging.getLogger(__name__)

#: A request that is answered: its method, the route it took, both empty if there is none, and the status.
Outcome = tuple[str, str, int]


@attrs.define(eq=False, repr=False)
class LogLevels:
    """How loud each outcome is; ``routine`` says what compatibility APIs have of that."""

    _routine: frozenset[tuple[str, str]] = frozenset()
    _known: dict[Outcome, int] = attrs.field(init=False, factory=dict)

    def of(self, outcome: Outcome) -> int:
        """Reads and a client's own mistakes in a whisper, changes aloud, what may not or cannot be louder."""
        known = self._known.get(outcome)
        if known is None:
            known = self._known[outcome] = self._new(*outcome)
        return known

    def _new(self, method: str, route: str, status: int) -> int:
        if status in (401, 403, 503):
            return logging.WARNING
        if (
            status == 501
        ):  # what a compatibility API does not have is nobody's failure, but worth knowing when one moves here
            return logging.INFO
        if status >= 500:
            return logging.ERROR
        reads = method in ("", "GET", "HEAD") or (method, route) in self._routine
        return logging.DEBUG if reads or status >= 400 else logging.INFO


def write(level: int, name: bytes, outcome: Outcome, seconds: float, token: str | None) -> None:
    """Log one request: how it is called, its method, route and status, and whose token it showed, by its name."""
    method, route, status = outcome
    called, ms = name.decode("ascii"), round(1000 * seconds, 3)
    log.log(
        level,
        "%s %d in %.1f ms (request %s%s)",
        *(f"{method} {route}".strip() or "a request that is for nothing here", status, ms, called),
        "" if token is None else f", token {token}",
        extra={"method": method, "route": route, "status": status, "ms": ms, "request_id": called, "token": token},
    )
