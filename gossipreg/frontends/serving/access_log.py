"""The access log: one line for each request, at a level that tells routine from trouble."""

from __future__ import annotations

import logging

import attrs

log = logging.getLogger(__name__)

#: A request that is answered: its method, the route it took, both empty if there is none, and the status.
Outcome = tuple[str, str, int]


@attrs.define(eq=False, repr=False)
class LogLevels:
    """The level of each outcome; ``routine`` are frequent requests that are no GET, by method and route."""

    _routine: frozenset[tuple[str, str]] = frozenset()
    _known: dict[Outcome, int] = attrs.field(init=False, factory=dict)

    def of(self, outcome: Outcome) -> int:
        """DEBUG for reads and client errors, INFO for changes, WARNING for 401, 403 and 503, ERROR for other 5xx."""
        known = self._known.get(outcome)
        if known is None:
            known = self._known[outcome] = self._new(*outcome)
        return known

    def _new(self, method: str, route: str, status: int) -> int:
        if status in (401, 403, 503):
            return logging.WARNING
        if status == 501:  # no failure, but worth knowing for users who migrate
            return logging.INFO
        if status >= 500:
            return logging.ERROR
        reads = method in ("", "GET", "HEAD") or (method, route) in self._routine
        return logging.DEBUG if reads or status >= 400 else logging.INFO


def write(level: int, name: bytes, outcome: Outcome, seconds: float, token: str | None) -> None:
    """Log one request: its id, method, route and status, and the name of its token."""
    method, route, status = outcome
    called, ms = name.decode("ascii"), round(1000 * seconds, 3)
    log.log(
        level,
        "%s %d in %.1f ms (request %s%s)",
        *(f"{method} {route}".strip() or "a request that is for nothing here", status, ms, called),
        "" if token is None else f", token {token}",
        extra={"method": method, "route": route, "status": status, "ms": ms, "request_id": called, "token": token},
    )
