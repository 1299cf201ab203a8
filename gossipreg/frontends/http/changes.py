"""Handlers of the HTTP API for recent changes, rates, the members' observations, and the client's own token."""

from __future__ import annotations

import time

import attrs

from gossipreg.frontends.http.change_history import render
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer


async def changes(context: NativeContext) -> Response:
    """The changes of the last hour, and since when each present problem has existed."""
    service, history = context.text("service"), context.history
    rows = await TimeSlicer().json_list(map(render, history.changes(service)))
    head = {
        "now": round(time.time(), 3),
        "began": history.began,
        "complete_from": history.complete_from,
        "since": history.since(service),
    }
    return Response(200, b'%b,"changes":%b}' % (encode(head)[:-1], rows))


async def rates(context: NativeContext) -> Response:
    """This node's rates, one sample for each interval of the last quarter of an hour."""
    return Response.of(200, {"interval": limits.RATE_SECONDS, "samples": context.rates.samples})


async def observations(context: NativeContext) -> Response:
    """What each member believes of the others, where that differs from what this node believes."""
    return Response(200, await context.observations.body())


async def token(context: NativeContext) -> Response:
    """The name and scopes of the token of this request. Without a token, or with an unknown one: the scopes of all."""
    access, shown = context.server.access, context.request.token
    answer = Response.of(
        200,
        {"required": not access.is_open, "name": access.holder(shown), "scopes": list(access.grants(shown))},
    )
    return attrs.evolve(answer, is_labelled=False, headers=((b"cache-control", b"no-store"),))
