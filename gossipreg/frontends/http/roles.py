"""The terms of services over HTTP: which is the highest of each, who is the primary, and an operator's reset."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from gossipreg.errors import NotJoined
from gossipreg.frontends.http import render
from gossipreg.frontends.http.blocking import reply
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.node_api import NodeApi
from gossipreg.frontends.serving.response import DeferredResponse, Response
from gossipreg.frontends.serving.time_slices import TimeSlicer
from gossipreg.model import ServiceTerm


async def roles(context: NativeContext) -> Response | DeferredResponse:
    """Every service that has a term: the highest, its primary, and who reset it when."""

    async def body() -> bytes:
        return b'{"roles":%b}' % await TimeSlicer().json_list(map(role, context.node.terms()))

    return await reply(context, None, body)


async def reset_role(context: NativeContext) -> Response:
    """Have a service's terms count anew, from the highest that its instances state now."""
    service = context.argument
    before = next((each.seen for each in context.node.terms() if each.service == service), 0)
    term = await context.node.reset_term(service)
    note = f"the term of {service} is {term.seen} still, for an instance states it: deregister that first"
    return Response.of(200, {**role(term), **({"note": note} if before and term.seen >= before else {})})


async def next_term(node: NodeApi, service: str) -> int:
    """The next term of a service. An agent that has just started may be about to learn which there were: it may wait.

    Raises ``NotJoined`` if it has not reached a member after `limits.JOIN_SECONDS`, and ``InvalidInstance``.
    """
    with trio.move_on_after(limits.JOIN_SECONDS):
        while True:
            index = node.index()
            with suppress(NotJoined):
                return node.next_term(service)
            await node.wait_changed(None, index)
    return node.next_term(service)


def role(term: ServiceTerm) -> dict[str, Any]:
    """The terms of one service; ``reset_at`` is in seconds since the epoch."""
    return {
        "service": term.service,
        "claimed": term.claimed,
        "seen": term.seen,
        "primary": None if term.primary is None else render.instance(term.primary),
        "reset_by": term.reset_by,
        "reset_at": term.reset_at,
    }
