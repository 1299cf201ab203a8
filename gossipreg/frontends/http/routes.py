"""The routes of the native API. The documentation is checked against this table."""

from __future__ import annotations

import functools
from typing import Final

from gossipreg.frontends.http import blocking, handlers, regional
from gossipreg.frontends.http.changes import changes, observations, rates, token
from gossipreg.frontends.http.context import NativeContext, Route
from gossipreg.frontends.http.credentials import credentials
from gossipreg.frontends.http.follow import follow
from gossipreg.frontends.http.http_sd import http_sd
from gossipreg.frontends.http.identities import identity, issue_certificate, revoke_certificate
from gossipreg.frontends.http.joining import join
from gossipreg.frontends.http.keys import add_key, keys, remove_key, use_key
from gossipreg.frontends.http.metrics import metrics
from gossipreg.frontends.http.picks import picks
from gossipreg.frontends.http.policies import policies, remove_policy, set_policy
from gossipreg.frontends.http.roles import reset_role, roles
from gossipreg.frontends.http.tokens import create_token, revoke_token, tokens
from gossipreg.frontends.serving.response import Response, encode
from gossipreg.frontends.serving.router import Router
from gossipreg.frontends.serving.scopes import Action


async def openapi(_: NativeContext) -> Response:
    """This API as an OpenAPI 3.1 document."""
    return Response(200, _openapi())


@functools.cache
def _openapi() -> bytes:
    from gossipreg.frontends.http.openapi import document  # few clients ask for it, and every start would pay for it

    return encode(document(ROUTES))


ROUTES: Final = (
    Route("GET", "/healthz", handlers.health, Action.PROBE),
    Route("GET", "/readyz", handlers.ready, Action.PROBE),
    Route("GET", "/api/v1/node", handlers.node, Action.READ_STATUS),
    Route("GET", "/api/v1/members", handlers.members, Action.READ_CLUSTER, ("all_cells", "versions", *blocking.QUERY)),
    Route("DELETE", "/api/v1/members/NAME", handlers.forget, Action.FORGET),
    Route("GET", "/api/v1/services", handlers.services, Action.READ_CLUSTER, ("region", *blocking.QUERY)),
    Route(
        "GET",
        "/api/v1/services/NAME",
        handlers.lookup,
        Action.READ_CLUSTER,
        ("all", "tag", "zone", "role", "panic", "stated", "region", *regional.FAILOVER, *blocking.QUERY),
    ),
    Route(
        "GET",
        "/api/v1/picks/NAME",
        picks,
        Action.READ_CLUSTER,
        ("count", "strategy", "caller_zone", "tag", "role"),
    ),
    Route("GET", "/api/v1/cells", handlers.cells, Action.READ_CLUSTER),
    Route("GET", "/api/v1/regions", regional.regions, Action.READ_CLUSTER),
    Route("POST", "/api/v1/follow", follow, Action.FOLLOW),
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
    Route("GET", "/api/v1/changes", changes, Action.READ_CLUSTER, ("service",)),
    Route("GET", "/api/v1/observations", observations, Action.READ_CLUSTER),
    Route("GET", "/api/v1/rates", rates, Action.READ_STATUS),
    Route(
        "GET",
        "/api/v1/events",
        handlers.events,
        Action.READ_CLUSTER,
        ("service", "all", "panic", "region", "tag", "role", *regional.FAILOVER),
    ),
    Route("GET", "/api/v1/keys", keys, Action.MANAGE_KEYS),
    Route("PUT", "/api/v1/keys", add_key, Action.MANAGE_KEYS),
    Route("DELETE", "/api/v1/keys/NAME", remove_key, Action.MANAGE_KEYS),
    Route("PUT", "/api/v1/primary_key", use_key, Action.MANAGE_KEYS),
    Route("GET", "/api/v1/identity", identity, Action.READ_CLUSTER),
    Route("PUT", "/api/v1/revocations", revoke_certificate, Action.REVOKE_CERTIFICATE),
    Route("POST", "/api/v1/certificates", issue_certificate, Action.REQUEST_CERTIFICATE),
    Route("GET", "/api/v1/tokens", tokens, Action.MANAGE_TOKENS),
    Route("PUT", "/api/v1/tokens", create_token, Action.MANAGE_TOKENS),
    Route("DELETE", "/api/v1/tokens/NAME", revoke_token, Action.MANAGE_TOKENS),
    Route("GET", "/api/v1/http_sd", http_sd, Action.READ_CLUSTER, ("service", "healthy")),
    Route("GET", "/api/v1/token", token, Action.SHOW_TOKEN),
    Route("GET", "/api/v1/openapi.json", openapi, Action.READ_STATUS),
    Route("GET", "/metrics", metrics, Action.READ_STATUS),
    Route("PUT", "/api/v1/drain", handlers.drain, Action.DRAIN),
    Route("DELETE", "/api/v1/drain", handlers.undrain, Action.DRAIN),
    Route("POST", "/api/v1/join", join, Action.JOIN),
    Route("POST", "/api/v1/leave", handlers.leave, Action.LEAVE),
)


#: The paths of what is answered in a word without a token.
PROBES: Final = frozenset(route.path for route in ROUTES if route.action is Action.PROBE)


#: Finds the route of a request. A slash at the end of a path is not ignored. The ids of instances may hold slashes, and
#: so may the keys of policies about an instance.
ROUTER: Final = Router(
    [(route.method, route.path, route) for route in ROUTES],
    trailing_slash=False,
    hint=": the API begins at /api/v1/node",
    spanning=("ID", "KEY"),
)
