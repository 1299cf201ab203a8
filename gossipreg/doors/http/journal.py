"""Knows what is logged of a request: one line, of a level that says whether anybody should care."""

from __future__ import annotations

import functools
import logging
from typing import Final

log = logging.getLogger(__name__)

#: What changes something and comes as often as reads do, by method and route: it is logged like them.
ROUTINE: Final = frozenset({("PUT", "/api/v1/heartbeats/ID")})


@functools.cache  # for each route there are a few answers
def level(method: str, route: str, status: int) -> int:
    """How loud: reads and a client's own mistakes in a whisper, changes aloud, what may not or cannot be louder."""
    if status in (401, 403, 503):
        return logging.WARNING
    if status >= 500:
        return logging.ERROR
    changes = status < 400 and method not in ("", "GET") and (method, route) not in ROUTINE
    return logging.INFO if changes else logging.DEBUG


def write(level: int, name: bytes, outcome: tuple[str, str, int], seconds: float, token: str | None) -> None:
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
