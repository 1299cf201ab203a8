"""The terms of services over HTTP: which is the highest of each, who is the primary, and an operator's reset."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio

from gossipreg.errors import NotJoined
from gossipreg.frontends.http import limits, render
from gossipreg.frontends.http.answers import Answer
from gossipreg.frontends.http.call import Call
from gossipreg.frontends.http.registry import Registry
from gossipreg.frontends.http.slices import Pace
from gossipreg.frontends.http.waiting import Waiting
from gossipreg.frontends.http.waits import reply
from gossipreg.model import ServiceTerm


async def roles(call: Call) -> Answer | Waiting:
    """Every service that has a term: the highest, its primary, and who reset it when."""

    async def body() -> bytes:
        return b'{"roles":%b}' % await Pace().json_list(map(role, call.node.terms()))

    return await reply(call, None, body)


async def reset_role(call: Call) -> Answer:
    """Have a service's terms count anew, from the highest that its instances state now."""
    service = call.argument
    before = next((each.seen for each in call.node.terms() if each.service == service), 0)
    term = await call.node.reset_term(service)
    note = f"the term of {service} is {term.seen} still, for an instance states it: deregister that first"
    return Answer.of(200, {**role(term), **({"note": note} if before and term.seen >= before else {})})


async def next_term(node: Registry, service: str) -> int:
    """The next term of a service. An agent that has just started may be about to learn which there were: it may wait.

    Raises ``NotJoined`` if it still has reached nobody after `limits.JOIN_SECONDS`, and ``InvalidInstance``.
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
