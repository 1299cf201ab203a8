"""The native API: finds the route of a request, checks its token and its query, and calls the handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import attrs

from gossipreg.errors import GossipregError
from gossipreg.frontends.http.change_history import ChangeHistory
from gossipreg.frontends.http.context import NativeContext
from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.http.exports import Exports
from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.http.observations import ObservationCache
from gossipreg.frontends.http.rates import RateHistory
from gossipreg.frontends.http.routes import PROBES, ROUTER, ROUTES
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.request import QueryParameters, Request, split_target
from gossipreg.frontends.serving.response import HttpError, Reply, http_error
from gossipreg.frontends.serving.scopes import Action
from gossipreg.values import frozen


@frozen(eq=False)
class NativeApi:
    """Answers all requests that no compatibility API answers. See `CompatibilityApi` for its attributes."""

    lookups: LookupCache
    event_encoder: EventEncoder = attrs.field(factory=EventEncoder)
    history: ChangeHistory = attrs.field(factory=ChangeHistory)
    rates: RateHistory = attrs.field(factory=RateHistory)
    exports: Exports = attrs.field(
        init=False, default=attrs.Factory(lambda self: Exports(self.lookups.node), takes_self=True)
    )
    observations: ObservationCache = attrs.field(
        init=False, default=attrs.Factory(lambda self: ObservationCache(self.lookups.node), takes_self=True)
    )

    prefixes: ClassVar[tuple[str, ...]] = ("",)
    routine: ClassVar[frozenset[tuple[str, str]]] = frozenset(
        {("PUT", "/api/v1/heartbeats/ID"), ("POST", "/api/v1/follow")}  # to follow is a blocking read
    )
    probes: ClassVar[frozenset[str]] = PROBES

    @property
    def routes(self) -> tuple[tuple[str, str, Action], ...]:
        """See `CompatibilityApi`."""
        return tuple((route.method, route.path, route.action) for route in ROUTES)

    def token(self, request: Request) -> str | None:
        """See `CompatibilityApi`."""
        return request.token

    async def answer(self, request: Request, server: ServerContext) -> tuple[str, Reply]:
        """See `CompatibilityApi`."""
        pattern = ""
        try:
            path, query = split_target(request.target)
            query.require_unique()
            found = ROUTER.find(request.method, path)
            pattern, route = found.pattern, found.handler
            server.access.permit(request.token, route.action, _service(pattern, found.arguments, query))
            route.check_query(query)
            shared = (self.lookups, self.event_encoder, self.history, self.rates, self.exports, self.observations)
            context = NativeContext(server, request, query, found.arguments, *shared)
            return pattern, await route.handler(context)
        except (HttpError, GossipregError) as error:
            return pattern, http_error(error).answer


def _service(pattern: str, arguments: Mapping[str, str], query: QueryParameters) -> str | None:
    """The one service that the answer is about; None if it may be about several."""
    if pattern in ("/api/v1/services/NAME", "/api/v1/picks/NAME"):
        return arguments["NAME"]
    return query.get("service") if pattern in _OF_ONE_SERVICE else None


#: Routes whose answer is about the service that their query names.
_OF_ONE_SERVICE: Final = frozenset({"/api/v1/changes", "/api/v1/credentials/ID", "/api/v1/events", "/api/v1/http_sd"})
