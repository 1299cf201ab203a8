"""Knows how a request becomes an answer: it is checked, routed and handled, and every no becomes a sentence."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final

import attrs

from gossipreg.errors import (
    ClockWrong,
    CredentialsUnavailable,
    GossipregError,
    InvalidInstance,
    InvalidPolicy,
    MemberPresent,
    NameConflict,
    NodeClosed,
    NotJoined,
    UnknownInstance,
    UnknownMember,
    UnknownPolicy,
    UnknownTerm,
)
from gossipreg.frontends.http.routes import PROBES, Reply, Route, find
from gossipreg.frontends.serving import access_log, reliability
from gossipreg.frontends.serving.context import RequestContext, ServerContext, may_read_status
from gossipreg.frontends.serving.deferred import DeferredResponse
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.request import Request, split_target
from gossipreg.frontends.serving.response import HttpError, Response

if TYPE_CHECKING:
    from gossipreg.frontends.serving.compatibility_api import CompatibilityApi


log = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[GossipregError], int], ...]] = (
    (InvalidInstance, 400),
    (InvalidPolicy, 400),
    (UnknownInstance, 404),
    (UnknownPolicy, 404),
    (UnknownTerm, 404),
    (ClockWrong, 503),
    (UnknownMember, 404),
    (CredentialsUnavailable, 409),
    (MemberPresent, 409),
    (NodeClosed, 503),
    (NotJoined, 503),
    (NameConflict, 503),
)


@attrs.define(eq=False, repr=False)
class Dispatcher:
    """Answers requests with what its room's node says."""

    server: ServerContext
    guard: Guard
    _closed: str | None = attrs.field(init=False, default=None)  # why, once it is
    _apis: tuple[tuple[str, CompatibilityApi], ...] = attrs.field(init=False)  # by the beginning of their paths

    _levels: access_log.LogLevels = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._levels = access_log.LogLevels(
            frozenset().union(*(each.routine for each in self.server.compatibility_apis))
        )
        self._apis = tuple((f"{prefix}/", each) for each in self.server.compatibility_apis for prefix in each.prefixes)

    async def close_with_node(self) -> None:
        """Wait until the node is closed, and from then on say only that: what it knows ages from that moment."""
        try:
            await self.server.node.wait_closed()
            self._closed = "this node has left and is closed"
        except GossipregError as error:
            self._closed = str(error)

    async def answer(self, request: Request, name: bytes) -> Reply:
        """The answer to one request, counted and logged. Any exception is our own mistake."""
        began = time.perf_counter()
        method, path, reply = await self._reply(request)
        if not isinstance(reply, DeferredResponse):
            status = reply.status if isinstance(reply, Response) else 200
            self._ended(request, name, (method, path, status), began)
            if isinstance(reply, Response):
                return self._labelled(reply, request) if path else reply
            return attrs.evolve(reply, headers=reliability.headers(self.server.node))

        async def later(most: float = math.inf) -> Response:
            try:
                answer = await reply.answer(most)
            except (HttpError, GossipregError) as error:
                answer = no(error)
            self._ended(request, name, (method, path, answer.status), began)
            return self._labelled(answer, request)

        return DeferredResponse(later)

    def _labelled(self, answer: Response, request: Request) -> Response:
        """The answer with how far it can be relied on, for a client that may know."""
        if answer.status in (401, 403) or (request.target in PROBES and not may_read_status(self.server, request)):
            return answer
        return Response(
            answer.status, answer.body, (*answer.headers, *reliability.headers(self.server.node)), answer.media
        )

    def _ended(self, request: Request, name: bytes, outcome: access_log.Outcome, began: float) -> None:
        self.server.requests[outcome] += 1
        level = self._levels.of(outcome)
        if access_log.log.isEnabledFor(level):
            holder = self.server.access.holder(self._token(request, outcome[1]))
            access_log.write(level, name, outcome, time.perf_counter() - began, holder)

    def _token(self, request: Request, path: str) -> str | None:
        """The token that a request for the route of that path has shown."""
        return next((each.token(request) for prefix, each in self._apis if path.startswith(prefix)), request.token)

    async def _reply(self, request: Request) -> tuple[str, str, Reply]:
        """The answer, and the method and the path of the route that gave it; empty where none was found."""
        if self._closed is not None:
            why = self._closed if may_read_status(self.server, request) else "this node is closed"
            return "", "", Response.error(503, why)
        route: Route | None = None
        try:
            request = request.at_our_own_name()
            self.guard.check(request)
            for prefix, create_api in self._apis:
                if request.target.startswith(prefix):
                    pattern, reply = await create_api.answer(request, self.server)
                    return (request.method, pattern, reply) if pattern else ("", "", reply)
            path, query = split_target(request.target)
            route, argument = find(request.method, path)
            self.server.access.permit(request.token, route.action)
            route.check_query(query)
            reply = await route.handler(RequestContext(self.server, request, argument, query))
        except (HttpError, GossipregError) as error:
            reply = no(error)
        return ("", "", reply) if route is None else (route.method, route.path, reply)


def no(error: HttpError | GossipregError) -> Response:
    """The answer to a request that is refused, in the form of this API."""
    return error.answer if isinstance(error, HttpError) else Response.of_error(status_of(error), error)


def status_of(error: GossipregError) -> int:
    """The code for a no of the node's; 500 for one that the client has no part in, such as a full disk."""
    for type_, status in _STATUS:
        if isinstance(error, type_):
            return status
    log.error("the node could not do what a client asked for: %s", error)
    return 500
