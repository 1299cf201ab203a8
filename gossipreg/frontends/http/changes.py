"""The latest changes and rates over HTTP, and which scopes the client's token has."""

from __future__ import annotations

import time

import attrs

from gossipreg.frontends.http.change_history import render
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.response import Response, encode
from gossipreg.frontends.serving.time_slices import TimeSlicer


async def changes(context: NativeContext) -> Response:
    """What has changed in the last hour, and since when what is not well has been so."""
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
    """How much this node has done in each interval of the last quarter of an hour."""
    return Response.of(200, {"interval": limits.RATE_SECONDS, "samples": context.rates.samples})


async def observations(context: NativeContext) -> Response:
    """What each member believes of the others, as far as it differs from what this node believes."""
    return Response(200, await context.observations.body())


async def token(context: NativeContext) -> Response:
    """What the token of this request is for. Without one, or with an unknown one: what is for all."""
    access, shown = context.server.access, context.request.token
    answer = Response.of(
        200,
        {"required": not access.is_open, "name": access.holder(shown), "scopes": list(access.grants(shown))},
    )
    return attrs.evolve(answer, is_labelled=False, headers=((b"cache-control", b"no-store"),))
