"""Blocking reads: a client sends the index that it knows, and is answered once the index differs.

Any other index counts, not only a greater one. An index that this node never gave is from an earlier run or from
another node, so the client's state may be wrong here. It is answered at once.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from gossipreg.durations import parse_seconds
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import Body, DeferredResponse, HttpError, Response
from gossipreg.text import shown

#: The query parameters of a blocking read.
QUERY: Final = ("index", "wait")

#: Carries the index of what an answer holds.
HEADER: Final = b"x-gossipreg-index"

_INDEX: Final = re.compile(r"[0-9]{1,19}")


async def changed(node: NodeApi, service: str | None, index: int, seconds: float) -> None:
    """Wait until the index of a service, or of everything, is not ``index`` any more, or the time is over.

    A little is added to ``seconds``, up to a sixteenth: clients that began to wait together do not return together.
    Raises ``NodeClosed``.
    """
    with trio.move_on_after(_jittered(seconds)):
        await node.wait_changed(service, index)


async def reply(
    context: NativeContext, service: str | None, body: Callable[[], Awaitable[Body]]
) -> Response | DeferredResponse:
    """The answer with ``body``, which is about a service or about everything.

    It comes at once, unless the request gives the current index: then it comes when the index has changed, or after the
    request's wait time.
    """
    index = context.node.index(service)
    if "index" in context.query or "wait" in context.query:
        asked, seconds = _asked_index(context), _asked_seconds(context)
        if asked == index:
            return _later(context, service, body, index, seconds)
    return _answer(index, await body())


async def reply_about(
    context: NativeContext, service: str | None, region: str, answer: Callable[[], Awaitable[Response]]
) -> Response | DeferredResponse:
    """As `reply`, about a service of another region or its directory, of which the node holds something already."""
    index = context.node.index(service, region)
    if "index" in context.query or "wait" in context.query:
        asked, seconds = _asked_index(context), _asked_seconds(context)
        if asked == index:

            async def later(most: float = math.inf) -> Response:
                with trio.move_on_after(min(_jittered(seconds), most)):
                    await context.node.wait_changed(service, index, region)
                return await answer()

            return DeferredResponse(later)
    return await answer()


def _jittered(seconds: float) -> float:
    """A little more: clients that began to wait together do not return together."""
    return seconds * (1 + random.random() / limits.WAIT_JITTER)


def _later(
    context: NativeContext, service: str | None, body: Callable[[], Awaitable[Body]], index: int, seconds: float
) -> DeferredResponse:
    async def later(most: float = math.inf) -> Response:
        await changed(context.node, service, index, min(seconds, most))
        now = context.node.index(service)
        if service is not None:
            return _answer(now, await body())
        path = context.request.target.partition("?")[0]  # nothing else makes the body: the query only says how to wait
        return _answer(now, await context.lookups.shared(path, now, body))

    return DeferredResponse(later)


def _answer(index: int, body: Body) -> Response:
    return Response(200, body, ((HEADER, b"%d" % index),))


def _asked_index(context: NativeContext) -> int | None:
    text = context.query.get("index")
    if text is None:
        return None
    if not _INDEX.fullmatch(text):
        raise HttpError(400, f"index: {shown(text)} is not a number that an answer gave")
    return int(text)


def _asked_seconds(context: NativeContext) -> float:
    text = context.query.get("wait")
    if text is None:
        return limits.WAIT_SECONDS
    seconds = parse_seconds(text)
    if seconds is None:
        raise HttpError(400, f"wait: {shown(text)} is not a number of seconds, nor one with a unit such as 30s or 5m")
    return min(seconds, limits.WAIT_SECONDS_MAX)
