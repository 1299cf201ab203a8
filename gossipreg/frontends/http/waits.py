"""Knows blocking reads: a client names the index that it knows, and is answered when there is another.

Any other index will do, not only a greater one: an index that this node never gave is from another life of it, or from
another node, so what the client knows is worth nothing here. It is told the truth at once.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gossipreg.durations import parse_seconds
from gossipreg.frontends.http import limits
from gossipreg.frontends.http.answers import Answer, Refusal
from gossipreg.frontends.http.call import Call
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.waiting import Waiting
from gossipreg.text import shown

#: The query parameters of a blocking read.
QUERY: Final = ("index", "wait")

#: Carries the index of what an answer holds.
HEADER: Final = b"x-gossipreg-index"

_INDEX: Final = re.compile(r"[0-9]{1,19}")


async def changed(node: Registry, service: str | None, index: int, seconds: float) -> None:
    """Wait until the index of a service, or of everything, is not ``index`` any more, or the time is over.

    A little is added to ``seconds``, up to a sixteenth: those who began to wait at once do not come back at once.
    Raises ``NodeClosed``.
    """
    with trio.move_on_after(seconds * (1 + random.random() / limits.WAIT_JITTER)):
        await node.wait_changed(service, index)


async def reply(call: Call, service: str | None, body: Callable[[], Awaitable[bytes]]) -> Answer | Waiting:
    """What the call asks for: ``body``, which is about a service or about everything.

    It comes at once, unless the call names the index that there still is: then when that has changed, or after the
    time that the call would wait.
    """
    index = call.node.index(service)
    if "index" in call.query or "wait" in call.query:
        asked, seconds = _asked_index(call), _asked_seconds(call)
        if asked == index:
            return _later(call, service, body, index, seconds)
    return _answer(index, await body())


def _later(
    call: Call, service: str | None, body: Callable[[], Awaitable[bytes]], index: int, seconds: float
) -> Waiting:
    async def later(most: float = math.inf) -> Answer:
        await changed(call.node, service, index, min(seconds, most))
        now = call.node.index(service)
        if service is not None:
            return _answer(now, await body())
        path = call.request.target.partition("?")[0]  # nothing else makes the body: the query only says how to wait
        return _answer(now, await call.room.lookups.shared(path, now, body))

    return Waiting(later)


def _answer(index: int, body: bytes) -> Answer:
    return Answer(200, body, ((HEADER, b"%d" % index),))


def _asked_index(call: Call) -> int | None:
    text = call.query.get("index")
    if text is None:
        return None
    if not _INDEX.fullmatch(text):
        raise Refusal(400, f"index: {shown(text)} is not a number that an answer gave")
    return int(text)


def _asked_seconds(call: Call) -> float:
    text = call.query.get("wait")
    if text is None:
        return limits.WAIT_SECONDS
    seconds = parse_seconds(text)
    if seconds is None:
        raise Refusal(400, f"wait: {shown(text)} is not a number of seconds, nor one with a unit such as 30s or 5m")
    return min(seconds, limits.WAIT_SECONDS_MAX)
