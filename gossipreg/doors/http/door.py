"""Knows how a request becomes an answer: it is checked, routed and handled, and every no becomes a sentence."""

from __future__ import annotations

import logging
from typing import Final

import attrs

from gossipreg.doors.http.answers import Answer, Refusal
from gossipreg.doors.http.call import Call, Room
from gossipreg.doors.http.guard import Guard
from gossipreg.doors.http.request import Request, split_target
from gossipreg.doors.http.routes import Reply, Route, find
from gossipreg.errors import GossipregError, InvalidInstance, NameConflict, NodeClosed, UnknownInstance

log = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[GossipregError], int], ...]] = (
    (InvalidInstance, 400),
    (UnknownInstance, 404),
    (NodeClosed, 503),
    (NameConflict, 503),
)


@attrs.define(eq=False)
class Door:
    """Answers requests with what its room's node says."""

    room: Room
    guard: Guard
    _closed: str | None = attrs.field(init=False, default=None)  # why, once it is

    async def close_with_node(self) -> None:
        """Wait until the node is closed, and from then on say only that: what it knows ages from that moment."""
        try:
            await self.room.node.wait_closed()
            self._closed = "this node has left and is closed"
        except GossipregError as error:
            self._closed = str(error)

    async def answer(self, request: Request) -> Reply:
        """The answer to one request, counted. Any exception is our own mistake."""
        method, path, reply = await self._reply(request)
        self.room.requests[method, path, reply.status if isinstance(reply, Answer) else 200] += 1
        return reply

    async def _reply(self, request: Request) -> tuple[str, str, Reply]:
        """The answer, and the method and the path of the route that gave it; empty where none was found."""
        if self._closed is not None:
            return "", "", Answer.error(503, self._closed)
        route: Route | None = None
        try:
            request = request.at_our_own_name()
            self.guard.check(request.method, request.authority, request.origin)
            path, query = split_target(request.target)
            route, argument = find(request.method, path)
            route.check_query(query)
            reply = await route.handler(Call(self.room, request, argument, query))
        except Refusal as refusal:
            reply = refusal.answer
        except GossipregError as error:
            reply = Answer.error(_status(error), str(error))
        return ("", "", reply) if route is None else (route.method, route.path, reply)


def _status(error: GossipregError) -> int:
    """The code for a no of the node's; 500 for one that the client has no part in, such as a full disk."""
    for type_, status in _STATUS:
        if isinstance(error, type_):
            return status
    log.error("the node could not do what a client asked for: %s", error)
    return 500
