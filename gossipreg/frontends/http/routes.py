"""Knows every path the door answers at, and who answers there. The documentation is checked against this table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import attrs

from gossipreg.frontends.http import blocking, handlers
from gossipreg.frontends.http.credentials import credentials
from gossipreg.frontends.http.events import EventStream
from gossipreg.frontends.http.http_sd import http_sd
from gossipreg.frontends.http.metrics import metrics
from gossipreg.frontends.http.openapi import openapi
from gossipreg.frontends.http.policies import policies, remove_policy, set_policy
from gossipreg.frontends.http.roles import reset_role, roles
from gossipreg.frontends.serving.context import RequestContext
from gossipreg.frontends.serving.deferred import DeferredResponse
from gossipreg.frontends.serving.request import decoded
from gossipreg.frontends.serving.response import HttpError, Response
from gossipreg.frontends.serving.scopes import Action
from gossipreg.text import shown

Reply = Response | EventStream | DeferredResponse


@attrs.frozen
class Route:
    """One thing to do at one path. A last segment in capitals stands for any text: it is the handler's argument."""

    method: str
    path: str
    handler: Callable[[RequestContext], Awaitable[Reply]]
    action: Action
    query: tuple[str, ...] = ()

    @property
    def takes_argument(self) -> bool:
        """Whether the path ends in a placeholder."""
        return self.path.rpartition("/")[2].isupper()

    def check_query(self, query: Mapping[str, str]) -> None:
        """Raise a 400 ``HttpError`` for a parameter that this route does not know."""
        for name in query:
            if name not in self.query:
                known = f"it knows {', '.join(self.query)}" if self.query else "it knows none"
                raise HttpError(400, f"{self.path} has no query parameter {shown(name)}: {known}")


ROUTES: Final = (
    Route("GET", "/healthz", handlers.health, Action.PROBE),
    Route("GET", "/readyz", handlers.ready, Action.PROBE),
    Route("GET", "/api/v1/node", handlers.node, Action.READ_STATUS),
    Route("GET", "/api/v1/members", handlers.members, Action.READ_CLUSTER, blocking.QUERY),
    Route("DELETE", "/api/v1/members/NAME", handlers.forget, Action.FORGET),
    Route("GET", "/api/v1/services", handlers.services, Action.READ_CLUSTER, blocking.QUERY),
    Route(
        "GET",
        "/api/v1/services/NAME",
        handlers.lookup,
        Action.READ_CLUSTER,
        ("all", "tag", "zone", "role", "panic", *blocking.QUERY),
    ),
    Route("PUT", "/api/v1/instances", handlers.register, Action.REGISTER),
    Route("DELETE", "/api/v1/instances/ID", handlers.deregister, Action.REGISTER),
    Route("GET", "/api/v1/checks", handlers.every_check, Action.READ_CHECKS),
    Route("GET", "/api/v1/checks/ID", handlers.checks_of, Action.READ_CHECKS),
    Route("PUT", "/api/v1/heartbeats/ID", handlers.heartbeat, Action.REPORT_HEALTH, ("check", "health", "note")),
    Route("PUT", "/api/v1/maintenance/ID", handlers.begin_maintenance, Action.SET_MAINTENANCE, ("reason",)),
    Route("DELETE", "/api/v1/maintenance/ID", handlers.end_maintenance, Action.SET_MAINTENANCE),
    Route("GET", "/api/v1/credentials/ID", credentials, Action.READ_CREDENTIALS, ("service", "owner")),
    Route("GET", "/api/v1/policies", policies, Action.READ_CLUSTER, blocking.QUERY),
    Route("PUT", "/api/v1/policies", set_policy, Action.SET_POLICY),
    Route("DELETE", "/api/v1/policies/KEY", remove_policy, Action.SET_POLICY),
    Route("GET", "/api/v1/roles", roles, Action.READ_CLUSTER, blocking.QUERY),
    Route("DELETE", "/api/v1/roles/NAME", reset_role, Action.RESET_ROLE),
    Route("GET", "/api/v1/events", handlers.events, Action.READ_CLUSTER, ("service", "panic")),
    Route("GET", "/api/v1/http_sd", http_sd, Action.READ_CLUSTER, ("service", "healthy")),
    Route("GET", "/api/v1/openapi.json", openapi, Action.READ_STATUS),
    Route("GET", "/metrics", metrics, Action.READ_STATUS),
    Route("PUT", "/api/v1/drain", handlers.drain, Action.DRAIN),
    Route("DELETE", "/api/v1/drain", handlers.undrain, Action.DRAIN),
    Route("POST", "/api/v1/leave", handlers.leave, Action.LEAVE),
)


#: The paths of what is answered in a word without a token.
PROBES: Final = frozenset(route.path for route in ROUTES if route.action is Action.PROBE)


def find(method: str, path: str) -> tuple[Route, str]:
    """The route for a request and its decoded argument. HEAD goes where GET goes.

    Raises a ``HttpError``: 404 where there is nothing at ``path``, 405 where it is not for ``method``.
    """
    methods, argument = _AT.get(path), ""
    if methods is None:
        parent, _, segment = path.rpartition("/")
        methods, argument = _BELOW.get(parent), segment
        if methods is None or not segment:
            raise HttpError(404, f"there is nothing at {shown(path)}: the API begins at /api/v1/node")
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
        raise HttpError(
            405, f"{path} is not for {shown(method)}: use {allowed}", ((b"allow", allowed.encode("ascii")),)
        )
    return route, decoded(argument)


def _table(routes: list[tuple[str, Route]]) -> Mapping[str, Mapping[str, Route]]:
    table: dict[str, dict[str, Route]] = {}
    for path, route in routes:
        table.setdefault(path, {})[route.method] = route
    return table


_AT: Final = _table([(route.path, route) for route in ROUTES if not route.takes_argument])
_BELOW: Final = _table([(route.path.rpartition("/")[0], route) for route in ROUTES if route.takes_argument])
