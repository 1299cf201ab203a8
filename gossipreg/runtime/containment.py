"""Containment: an unforeseen exception of one task is logged and counted, and ends neither the others nor the node.

Whatever a user, a peer or an outsider can bring about must be foreseen where it happens. This is for what was not: a
mistake of ours costs the one check, connection or note that it befell. Only the engine's own invariants end the node:
it cannot be trusted any more when they do not hold.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gossipreg.counters import Count

log = logging.getLogger(__name__)

#: How long a task that must go on waits before it is begun anew (seconds), so that a mistake made at once every time
#: neither keeps the loop busy nor fills the log.
RETRY_SECONDS: Final = 5.0


def note(counters: Counter[str], what: str, error: BaseException) -> None:
    """Log ``error`` as a mistake in ``what``, and count it."""
    counters[Count.TASKS_FAILED] += 1
    log.error("%s failed, by a mistake of ours; the node goes on", what, exc_info=error)


async def contained(counters: Counter[str], what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work``, which is called ``what`` in the log. Raises nothing but cancellation."""
    try:
        await work()
    except* Exception as errors:  # noqa: BLE001 - it is logged
        note(counters, what, errors)


async def kept_going(counters: Counter[str], what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do ``work`` until it returns; begin it anew, after a while, whenever it fails."""
    while True:
        try:
            await work()
        except* Exception as errors:  # noqa: BLE001 - it is logged
            note(counters, what, errors)
        else:
            return
        await trio.sleep(RETRY_SECONDS)
