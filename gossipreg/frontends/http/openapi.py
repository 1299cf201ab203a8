"""The OpenAPI document of the native API, made from its routes and from the classes that it returns.

Paths, methods and query parameters come from the table of routes, most schemas from the types of the classes. The
responses of each route cannot be derived, so they are declared here; the tests check the server against them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Final, get_args

from gossipreg import __version__
from gossipreg.frontends.http.context import Route
from gossipreg.frontends.http.json_schema import (
    BOOLEAN,
    NUMBER,
    TEXT,
    WHOLE,
    WORD,
    Json,
    list_of,
    map_of,
    object_of,
    one_of,
    optional,
    ref,
    within,
)
from gossipreg.frontends.http.openapi_schemas import (
    CELL,
    FOLLOWED,
    FOUND,
    INSTANCE,
    LISTED,
    OBSERVATIONS,
    PICKS,
    RATES,
    REGION,
    schemas,
)
from gossipreg.frontends.serving.limits import PICKS_MAX
from gossipreg.frontends.serving.request import NDJSON
from gossipreg.protocol.registry.choose import Strategy
from gossipreg.values import frozen

#: Headers of every answer, which say how current it can be.
_CURRENCY_HEADERS: Final[Json] = {
    "X-Gossipreg-Isolated": {
        "description": "Whether the node receives nothing from other members.",
        "schema": {"enum": ["true", "false"]},
    },
    "X-Gossipreg-Reachable": {
        "description": "Share of the other members that are alive.",
        "schema": {"pattern": "^[01]\\.[0-9]{2}$"},
    },
}
_INDEX_HEADER: Final[Json] = {"description": "Pass it as `index` in the next read.", "schema": WHOLE}


@frozen
class Operation:
    """What one route takes and returns. ``answers``: the schema of each success status, None if it has no body."""

    answers: Mapping[int, Json | None]
    errors: tuple[int, ...] = ()
    body: str | None = None  # the schema's name
    takes_lists: bool = False  # of such bodies, as JSON or one on each line
    media: str = "application/json"


#: By method and path, as in the table of routes.
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/healthz"): Operation({200: ref("NodeHealth"), 503: ref("NodeHealth")}),
    ("GET", "/readyz"): Operation({200: ref("Readiness"), 503: ref("Readiness")}),
    ("GET", "/api/v1/node"): Operation({200: ref("Node")}),
    ("GET", "/api/v1/members"): Operation({200: object_of(members=list_of(ref("MemberSeen")))}),
    ("DELETE", "/api/v1/members/NAME"): Operation({204: None}, (403, 404, 409)),
    ("GET", "/api/v1/services"): Operation({200: LISTED}, (404,)),
    ("GET", "/api/v1/services/NAME"): Operation({200: FOUND}, (400, 404)),
    ("GET", "/api/v1/picks/NAME"): Operation({200: PICKS}, (400,)),
    ("GET", "/api/v1/cells"): Operation({200: object_of(cells=list_of(CELL))}),
    ("GET", "/api/v1/regions"): Operation({200: object_of(regions=list_of(REGION))}),
    ("POST", "/api/v1/follow"): Operation({200: FOLLOWED}, (400, 403, 413), body="FollowRequest"),
    ("PUT", "/api/v1/instances"): Operation(
        {200: {"oneOf": [INSTANCE, object_of(instances=list_of(INSTANCE))]}, 201: INSTANCE},
        (400, 403, 411, 413),
        body="Registration",
        takes_lists=True,
    ),
    ("DELETE", "/api/v1/instances/ID"): Operation({204: None}, (403, 404)),
    ("GET", "/api/v1/checks"): Operation({200: object_of(checks=list_of(ref("Check")))}),
    ("GET", "/api/v1/checks/ID"): Operation({200: object_of(checks=list_of(ref("Check")))}, (404,)),
    ("PUT", "/api/v1/heartbeats/ID"): Operation({204: None}, (400, 403, 404)),
    ("PUT", "/api/v1/maintenance/ID"): Operation({200: INSTANCE}, (400, 403, 404)),
    ("DELETE", "/api/v1/maintenance/ID"): Operation({200: INSTANCE}, (403, 404)),
    ("GET", "/api/v1/credentials/ID"): Operation(
        {200: object_of(id=TEXT, service=TEXT, owner=TEXT, credentials=map_of(TEXT))}, (400, 403, 404, 409)
    ),
    ("GET", "/api/v1/policies"): Operation(
        {
            200: object_of(
                policies=list_of(ref("Policy")), unreadable=list_of(object_of(key=TEXT, writer=TEXT, at=NUMBER))
            )
        }
    ),
    ("PUT", "/api/v1/policies"): Operation({200: ref("PolicySet")}, (400, 403, 411, 413), body="PolicyWanted"),
    ("DELETE", "/api/v1/policies/KEY"): Operation({204: None}, (403, 404)),
    ("GET", "/api/v1/roles"): Operation({200: object_of(roles=list_of(ref("Role")))}),
    ("DELETE", "/api/v1/roles/NAME"): Operation({200: ref("Role")}, (403, 404)),
    ("GET", "/api/v1/changes"): Operation({200: ref("Changes")}, (400,)),
    ("GET", "/api/v1/observations"): Operation({200: OBSERVATIONS}),
    ("GET", "/api/v1/rates"): Operation({200: object_of(interval=NUMBER, samples=list_of(RATES))}),
    ("GET", "/api/v1/token"): Operation(
        {200: object_of(required=BOOLEAN, name=optional(TEXT), scopes=list_of(ref("Scope")))}
    ),
    ("GET", "/api/v1/keys"): Operation({200: ref("GossipKeys")}, (403,)),
    ("GET", "/api/v1/identity"): Operation({200: ref("Identity")}),
    ("PUT", "/api/v1/revocations"): Operation({200: ref("Identity")}, (400, 403, 411, 413), body="Revocation"),
    ("POST", "/api/v1/certificates"): Operation(
        {201: object_of(certificate=TEXT)}, (400, 403, 409, 411, 413), body="CertificateRequest"
    ),
    ("GET", "/api/v1/tokens"): Operation({200: object_of(tokens=list_of(ref("TokenListed")))}, (403,)),
    ("PUT", "/api/v1/tokens"): Operation({201: ref("TokenListed")}, (400, 403, 409, 411, 413), body="TokenCreated"),
    ("DELETE", "/api/v1/tokens/NAME"): Operation({204: None}, (403, 404, 409)),
    ("PUT", "/api/v1/keys"): Operation({200: object_of(id=TEXT)}, (400, 403, 409, 411, 413), body="GossipKeyAdded"),
    ("DELETE", "/api/v1/keys/NAME"): Operation({204: None}, (403, 404, 409)),
    ("PUT", "/api/v1/primary_key"): Operation(
        {200: ref("GossipKeys")}, (400, 403, 404, 409, 411, 413), body="GossipKeyUsed"
    ),
    ("GET", "/api/v1/events"): Operation({200: TEXT}, (400, 404), media="text/event-stream"),
    ("GET", "/api/v1/http_sd"): Operation(
        {200: list_of(object_of(targets=list_of(TEXT), labels=map_of(TEXT)))},
        (400,),
    ),
    ("GET", "/api/v1/openapi.json"): Operation({200: {"type": "object"}}),
    ("GET", "/metrics"): Operation({200: TEXT}, media="text/plain; version=0.0.4; charset=utf-8"),
    ("PUT", "/api/v1/drain"): Operation({200: object_of(draining=BOOLEAN)}, (403,)),
    ("DELETE", "/api/v1/drain"): Operation({200: object_of(draining=BOOLEAN)}, (403,)),
    ("POST", "/api/v1/join"): Operation({200: ref("Joined")}, (400, 403, 411, 413, 502, 503), body="JoinWanted"),
    ("POST", "/api/v1/leave"): Operation({202: object_of(status=TEXT)}, (403,)),
}

#: A boolean in a query; the bare name means true.
_FLAG: Final[Json] = {"type": ["boolean", "string"], "enum": [True, False, "", "true", "false", "1", "0"]}

#: The query parameters of all routes: the schema of each, and its description.
_PARAMETERS: Final[Mapping[str, tuple[Json, str]]] = {
    "all": (_FLAG, "Also return instances that cannot serve."),
    "healthy": (_FLAG, "Return only instances that can serve."),
    "tag": (WORD, "Return only instances with this tag."),
    "zone": (WORD, "Return only instances in this zone."),
    "role": (WORD, "Return only instances with this role."),
    "count": (within(1, PICKS_MAX), "How many calls to draw; default: 100."),
    "strategy": (one_of(list(get_args(Strategy))), "How callers choose; default: random."),
    "caller_zone": (WORD, "The zone of the callers: instances there are preferred."),
    "failover": (WORD, "Regions, with commas between, of which the first that can serve answers if this one cannot."),
    "failover_threshold": (
        {"type": "number", "minimum": 0, "maximum": 1},
        "The share of its instances below which a region cannot serve; default: 0, where one instance is enough.",
    ),
    "region": (WORD, "Answer about this region; default: the agent's own."),
    "panic": (
        {"type": "number", "minimum": 0, "maximum": 1},
        "If less than this share can be reached because many owners failed at once, include the lost ones, as stale.",
    ),
    "all_cells": (_FLAG, "The members of all cells of the region, each with its cell, and whether that is heard."),
    "versions": (_FLAG, "Ask the members whose version is not known yet; it takes 1.5 s if one does not answer."),
    "stated": (_FLAG, "Give `stated_weight`, too: the weight before policies and drains."),
    "service": (WORD, "Return only what concerns this service."),
    "owner": (WORD, "Return only instances that this member registered."),
    "check": (WORD, "The name of the ttl check; default: all ttl checks of the instance."),
    "health": (one_of(["passing", "warning", "critical"]), "The health of the service; default: passing."),
    "note": (WORD, "A note that is shown beside the health."),
    "reason": (WORD, "The reason, a text for users."),
    "index": (within(0, 2**63 - 1), "Answer once the index differs from this one; 0: at once."),
    "wait": ({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h)?$"}, "How long to wait for a change; default: 5m."),
}

#: How a request presents its token, where one is required.
_SECURITY: Final[Json] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "header", "name": "X-Gossipreg-Token"},
}


def document(routes: Iterable[Route]) -> Json:
    """Make the whole document."""
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(_path(route), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "gossipreg",
            "version": __version__,
            "description": "The HTTP API of a gossipreg agent. Clients must ignore fields that they do not know.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": schemas(), "securitySchemes": _SECURITY},
    }


def _path(route: Route) -> str:
    parent, _, last = route.path.rpartition("/")
    return f"{parent}/{{{last.lower()}}}" if route.takes_argument else route.path


def _operation(route: Route) -> Json:
    declared = OPERATIONS[route.method, route.path]
    answers = {str(status): _answer(status, schema, declared.media) for status, schema in declared.answers.items()}
    for status in declared.answers:
        answers[str(status)]["headers"] = dict(_CURRENCY_HEADERS)
    if "index" in route.query:
        answers["200"]["headers"] |= {"X-Gossipreg-Index": _INDEX_HEADER}
    for status in (*declared.errors, *((401, 403) if route.action.scope is not None else ())):
        answers[str(status)] = _answer(status, ref("Error"), "application/json")
    refusal = {"description": "The request is refused; `error` says why."}
    answers["default"] = _answer(0, ref("Error"), "application/json") | refusal
    made: Json = {
        "operationId": route.handler.__name__,
        "summary": (inspect.getdoc(route.handler) or "").partition("\n")[0],
        "parameters": _parameters(route),
        "responses": answers,
    }
    if route.action.scope is not None:
        made["description"] = f"If the agent requires tokens: one with the scope {route.action.scope}."
        made["security"] = [{name: []} for name in _SECURITY] + [{}]
    if declared.body is not None:
        one = ref(declared.body)
        content: Json = {"application/json": {"schema": one}}
        if declared.takes_lists:
            content = {"application/json": {"schema": {"oneOf": [one, list_of(one)]}}, NDJSON: {"schema": one}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _parameters(route: Route) -> list[Json]:
    made = []
    if route.takes_argument:
        name = route.path.rpartition("/")[2].lower()
        made.append({"name": name, "in": "path", "required": True, "schema": TEXT})
    for name in route.query:
        schema, what = _PARAMETERS[name]
        made.append({"name": name, "in": "query", "description": what, "schema": schema})
    return made


def _answer(status: int, schema: Json | None, media: str) -> Json:
    made: Json = {"description": "Success." if status < 300 else "Failure; the body says why."}
    if schema is not None:
        made["content"] = {media: {"schema": schema}}
    return made
