"""The dispatcher: hands each request to the API that it is for, then counts, logs and labels the answer."""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.serving import access_log, audit_log, reliability
from gossipreg.frontends.serving.access import Token
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.deferred_api import DeferredApi
from gossipreg.frontends.serving.guard import Guard
from gossipreg.frontends.serving.request import Request, shown_path
from gossipreg.frontends.serving.response import DeferredResponse, HttpError, Reply, Response, http_error
from gossipreg.frontends.serving.scoped_node import watch

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from gossipreg.frontends.serving.tracing import RequestTracer

#: Methods that change nothing (RFC 9110 §9.2.1).
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class DefaultApi(CompatibilityApi, Protocol):
    """The API for all paths that belong to no compatibility API. It logs HEAD as GET."""

    @property
    def probes(self) -> frozenset[str]:
        """Paths that a client without a token may read; it gets one word."""
        ...


@attrs.define(eq=False, repr=False)
class Dispatcher:
    """Answers requests by the ``default`` API or, at their prefixes, by the compatibility APIs."""

    server: ServerContext
    guard: Guard
    default: DefaultApi
    compatibility_apis: tuple[CompatibilityApi, ...] = ()
    tracer: RequestTracer | None = None  # makes a span of each request
    _closed: str | None = attrs.field(init=False, default=None)  # why, once it is
    _apis: tuple[tuple[str, CompatibilityApi], ...] = attrs.field(init=False)  # by the beginning of their paths
    _levels: access_log.LogLevels = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        every = (self.default, *self.compatibility_apis)
        self._levels = access_log.LogLevels(frozenset().union(*(each.routine for each in every)))
        self._apis = tuple((f"{prefix}/", each) for each in self.compatibility_apis for prefix in each.prefixes)

    async def close_with_node(self) -> None:
        """Wait until the node is closed; from then on every answer says so, because its state is stale."""
        try:
            await self.server.node.wait_closed()
            self._closed = "this node has left and is closed"
        except GossipregError as error:
            self._closed = str(error)

    async def answer(self, request: Request, name: bytes) -> Reply:
        """The answer to one request, counted, logged and traced. Any exception is a bug."""
        if self.tracer is None:
            return await self._answer(request, name, None)
        span = self.tracer.begin(request)
        with self.tracer.entered(span):
            return await self._answer(request, name, span)

    async def _answer(self, request: Request, name: bytes, span: Span | None) -> Reply:
        began = time.perf_counter()
        method, path, reply = await self._reply(request, name)
        if not isinstance(reply, DeferredResponse):
            status = reply.status if isinstance(reply, Response) else 200
            self._ended(request, name, (method, path, status), began, span)
            if status in (401, 403) and request.method not in _SAFE_METHODS:
                where = path or shown_path(request.target)
                await self.server.audit.refused(f"{request.method} {where}", status=status)
            if isinstance(reply, Response):
                return self._labelled(reply, request) if path else reply
            return reply.with_headers(reliability.headers(self.server.node))

        async def later(most: float = math.inf) -> Response:
            with nullcontext() if self.tracer is None or span is None else self.tracer.entered(span):
                try:
                    answer = await reply.answer(most)
                except (HttpError, GossipregError) as error:
                    answer = http_error(error).answer
            if self._is_refused_now(request, path):
                answer = HttpError(401, "this token is not one of this agent's any more").answer
            self._ended(request, name, (method, path, answer.status), began, span)
            return self._labelled(answer, request)

        return DeferredResponse(later)

    def _labelled(self, answer: Response, request: Request) -> Response:
        """The answer with headers that say how far it can be relied on, if the client may know."""
        if (
            answer.status in (401, 403)
            or not answer.is_labelled
            or (request.target in self.default.probes and not self.server.may_read_status(request))
        ):
            return answer
        return Response(
            answer.status, answer.content, (*answer.headers, *reliability.headers(self.server.node)), answer.media
        )

    def _ended(
        self, request: Request, name: bytes, outcome: access_log.Outcome, began: float, span: Span | None
    ) -> None:
        if self.tracer is not None and span is not None:
            self.tracer.end(span, *outcome)
        self.server.requests[outcome] += 1
        level = self._levels.of(outcome)
        if access_log.log.isEnabledFor(level):
            holder = self.server.access.holder(self._token(request, outcome[1]))
            access_log.write(level, name, outcome, time.perf_counter() - began, holder)

    def _api_for(self, target: str) -> CompatibilityApi | None:
        """The compatibility API of a path below one of its prefixes, or at one where it has a route."""
        for prefix, api in self._apis:
            if target.startswith(prefix):
                return api
            if f"{target}/" == prefix and any(pattern == target for _, pattern, _ in api.routes):
                return api
        return None

    def _token(self, request: Request, path: str) -> str | None:
        """The token that a request for the route of that path has shown."""
        api = next((each for prefix, each in self._apis if path.startswith(prefix)), self.default)
        return api.token(request)

    def _is_refused_now(self, request: Request, path: str) -> bool:
        """Whether the token of a request whose answer was waited for has been revoked, or has expired, since."""
        access = self.server.access
        if access.is_open:
            return False
        token = self._token(request, path)
        return token is not None and access.find(token) is None

    def _enter(self, name: bytes, found: Token | None) -> None:
        """Attribute all that this request causes to its client, and bound it by the services that the token is for."""
        watch(found)
        holder = None if found is None else found.name
        audit_log.caller.set(attrs.evolve(audit_log.caller.get(), request=name.decode("ascii"), token=holder))

    def _found(self, request: Request, api: CompatibilityApi) -> Token | None:
        """The token that the request shows, if it is one of this agent's."""
        access = self.server.access
        if access.is_open:
            return None
        try:
            token = api.token(request)
        except HttpError:  # the API says so, too
            return None
        return None if token is None else access.find(token)

    async def _reply(self, request: Request, name: bytes) -> tuple[str, str, Reply]:
        """The method and the path of the route, both empty if none was found, and its answer."""
        if self._closed is not None:
            why = self._closed if self.server.may_read_status(request) else "this node is closed"
            return "", "", Response.error(503, why)
        self._enter(name, None)  # not that of the request before on this connection
        try:
            request = request.at_our_own_name()
            self.guard.check(request)
        except HttpError as error:
            return "", "", error.answer
        method = request.method
        api = self._api_for(request.target)
        if api is None:
            api = self.default
            method = "GET" if method == "HEAD" else method
        if isinstance(api, DeferredApi):
            await api.load()
        if not self.server.access.is_open:
            self._enter(name, self._found(request, api))
        pattern, reply = await api.answer(request, self.server)
        return (method, pattern, reply) if pattern else ("", "", reply)
