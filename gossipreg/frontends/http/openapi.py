"""The OpenAPI document of the native API, made from its routes and from the classes that it returns.

Paths, methods and query parameters come from the table of routes, most schemas from the types of the classes. The
responses of each route cannot be derived, so they are declared here; the tests check the server against them.
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs

from gossipreg import __version__, limits
from gossipreg.frontends.http.context import Route
from gossipreg.frontends.serving.limits import PICKS_MAX
from gossipreg.frontends.serving.request import NDJSON
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Address, Health, Instance, Member, NodeInfo, ServiceCount, Status
from gossipreg.policy import KINDS
from gossipreg.protocol.registry.choose import Strategy
from gossipreg.spec import InstanceSpec
from gossipreg.values import frozen

Json = dict[str, Any]

_TEXT: Final[Json] = {"type": "string"}
_WHOLE: Final[Json] = {"type": "integer"}

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
_INDEX_HEADER: Final[Json] = {"description": "Pass it as `index` in the next read.", "schema": _WHOLE}
_NUMBER: Final[Json] = {"type": "number"}
_BOOLEAN: Final[Json] = {"type": "boolean"}
_WORD: Final[Json] = {"type": "string", "minLength": 1}
_NAME: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    "maxLength": limits.NAME_CHARS_MAX,
}
_ID: Final[Json] = {"type": "string", "pattern": "^[!-~]+$", "maxLength": limits.ID_CHARS_MAX}
_HOST: Final[Json] = {"type": "string", "pattern": r"^[^\s\[\]/]+$", "maxLength": limits.HOST_CHARS_MAX}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _list(items: Json) -> Json:
    return {"type": "array", "items": items}


def _map(values: Json) -> Json:
    return {"type": "object", "additionalProperties": values}


def _object(**properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _optional(schema: Json) -> Json:
    return {**schema, "type": [schema["type"], "null"]}


def _within(low: int, high: int) -> Json:
    return {"type": "integer", "minimum": low, "maximum": high}


def _enum(values: list[str]) -> Json:
    return {"type": "string", "enum": values}


@frozen
class Operation:
    """What one route takes and returns. ``answers``: the schema of each success status, None if it has no body."""

    answers: Mapping[int, Json | None]
    errors: tuple[int, ...] = ()
    body: str | None = None  # the schema's name
    takes_lists: bool = False  # of such bodies, as JSON or one on each line
    media: str = "application/json"


_INSTANCE: Final = _ref("Instance")

#: Services with their counts, which are not known of another region.
_LISTED: Final = {
    **_object(
        services=_map(_object(instances=_optional(_WHOLE), healthy=_optional(_WHOLE))),
        region={**_TEXT, "description": "The region, if it is another than the agent's."},
    ),
    "required": ["services"],
}

#: The instances of a service. A failover has no index.
_FOUND: Final = {
    **_object(
        index=_WHOLE,
        instances=_list(_INSTANCE),
        region={**_TEXT, "description": "The region that was asked for, or that a failover has led to."},
    ),
    "required": ["instances"],
}

#: A region that the agent knows.
_REGION: Final = _object(
    name=_TEXT,
    own=_BOOLEAN,
    agent=_optional(_TEXT),
    agents=_list(_TEXT),
    connected=_BOOLEAN,
    age=_optional(_NUMBER),
    stale=_BOOLEAN,
    round_trip=_optional(_NUMBER),
    services=_WHOLE,
    followed=_WHOLE,
    instances=_WHOLE,
    problem=_TEXT,
)

#: What an agent of another region is told.
_FOLLOWED: Final = _object(
    region=_TEXT,
    node=_TEXT,
    run=_TEXT,
    age=_NUMBER,
    waited=_NUMBER,
    left_off=_list(_TEXT),
    directory={"oneOf": [_object(digest=_TEXT, whole=_BOOLEAN, services=_map(_list(_TEXT))), {"type": "null"}]},
    services=_map(
        {
            "oneOf": [
                _object(index=_WHOLE, healthy=_list(_INSTANCE), others=_list(_INSTANCE), members=_map(_ref("Member"))),
                _object(index=_WHOLE, beyond=_TEXT),
            ]
        }
    ),
)

#: What the agent has done in one interval, for each second of it.
_RATES: Final = _object(
    at=_NUMBER,
    packets_in=_NUMBER,
    packets_out=_NUMBER,
    bytes_in=_NUMBER,
    bytes_out=_NUMBER,
    requests=_NUMBER,
    round_trip=_optional(_NUMBER),
)

#: What calls to a service would get.
_PICKS: Final = _object(
    service=_TEXT,
    strategy=_TEXT,
    caller_zone=_TEXT,
    picks=_WHOLE,
    chosen=_list(_object(owner=_TEXT, id=_TEXT, zone=_TEXT, weight=_WHOLE, share=_NUMBER, picks=_WHOLE)),
    left_out=_list(_object(reason=_TEXT, instances=_WHOLE)),
)

#: What the members believe of each other.
_OBSERVATIONS: Final = _object(
    at=_NUMBER,
    observer=_TEXT,
    asked=_WHOLE,
    answered=_WHOLE,
    observers=_list(
        _object(name=_TEXT, zone=_TEXT, failure=_TEXT, silent=_BOOLEAN, version=_TEXT, problems=_list(_TEXT))
    ),
    differences=_list(_object(observer=_TEXT, member=_TEXT, status=_TEXT, link=_TEXT, unanswered=_WHOLE)),
    zones=_list(
        {
            "type": "object",
            "properties": {
                "from": _TEXT,
                "to": _TEXT,
                "median": _NUMBER,
                "worst": _NUMBER,
                "links": _WHOLE,
            },
            "required": ["from", "to", "median", "worst", "links"],
        }
    ),
    round_trips=_list(_object(observer=_TEXT, members=_map(_NUMBER))),
)

#: By method and path, as in the table of routes.
OPERATIONS: Final[Mapping[tuple[str, str], Operation]] = {
    ("GET", "/healthz"): Operation({200: _ref("NodeHealth"), 503: _ref("NodeHealth")}),
    ("GET", "/readyz"): Operation({200: _ref("Readiness"), 503: _ref("Readiness")}),
    ("GET", "/api/v1/node"): Operation({200: _ref("Node")}),
    ("GET", "/api/v1/members"): Operation({200: _object(members=_list(_ref("MemberSeen")))}),
    ("DELETE", "/api/v1/members/NAME"): Operation({204: None}, (403, 404, 409)),
    ("GET", "/api/v1/services"): Operation({200: _LISTED}, (404,)),
    ("GET", "/api/v1/services/NAME"): Operation({200: _FOUND}, (400, 404)),
    ("GET", "/api/v1/picks/NAME"): Operation({200: _PICKS}, (400,)),
    ("GET", "/api/v1/regions"): Operation({200: _object(regions=_list(_REGION))}),
    ("POST", "/api/v1/follow"): Operation({200: _FOLLOWED}, (400, 403, 413), body="FollowRequest"),
    ("PUT", "/api/v1/instances"): Operation(
        {200: {"oneOf": [_INSTANCE, _object(instances=_list(_INSTANCE))]}, 201: _INSTANCE},
        (400, 403, 411, 413),
        body="Registration",
        takes_lists=True,
    ),
    ("DELETE", "/api/v1/instances/ID"): Operation({204: None}, (403, 404)),
    ("GET", "/api/v1/checks"): Operation({200: _object(checks=_list(_ref("Check")))}),
    ("GET", "/api/v1/checks/ID"): Operation({200: _object(checks=_list(_ref("Check")))}, (404,)),
    ("PUT", "/api/v1/heartbeats/ID"): Operation({204: None}, (400, 403, 404)),
    ("PUT", "/api/v1/maintenance/ID"): Operation({200: _INSTANCE}, (400, 403, 404)),
    ("DELETE", "/api/v1/maintenance/ID"): Operation({200: _INSTANCE}, (403, 404)),
    ("GET", "/api/v1/credentials/ID"): Operation(
        {200: _object(id=_TEXT, service=_TEXT, owner=_TEXT, credentials=_map(_TEXT))}, (400, 403, 404, 409)
    ),
    ("GET", "/api/v1/policies"): Operation(
        {200: _object(policies=_list(_ref("Policy")), unreadable=_list(_object(key=_TEXT, writer=_TEXT, at=_NUMBER)))}
    ),
    ("PUT", "/api/v1/policies"): Operation({200: _ref("PolicySet")}, (400, 403, 411, 413), body="PolicyWanted"),
    ("DELETE", "/api/v1/policies/KEY"): Operation({204: None}, (403, 404)),
    ("GET", "/api/v1/roles"): Operation({200: _object(roles=_list(_ref("Role")))}),
    ("DELETE", "/api/v1/roles/NAME"): Operation({200: _ref("Role")}, (403, 404)),
    ("GET", "/api/v1/changes"): Operation({200: _ref("Changes")}, (400,)),
    ("GET", "/api/v1/observations"): Operation({200: _OBSERVATIONS}),
    ("GET", "/api/v1/rates"): Operation({200: _object(interval=_NUMBER, samples=_list(_RATES))}),
    ("GET", "/api/v1/token"): Operation(
        {200: _object(required=_BOOLEAN, name=_optional(_TEXT), scopes=_list(_ref("Scope")))}
    ),
    ("GET", "/api/v1/keys"): Operation({200: _object(keys=_list(_ref("GossipKey")))}, (403,)),
    ("GET", "/api/v1/identity"): Operation({200: _ref("Identity")}),
    ("PUT", "/api/v1/revocations"): Operation({200: _ref("Identity")}, (400, 403, 411, 413), body="Revocation"),
    ("GET", "/api/v1/tokens"): Operation({200: _object(tokens=_list(_ref("TokenListed")))}, (403,)),
    ("PUT", "/api/v1/tokens"): Operation({201: _ref("TokenListed")}, (400, 403, 409, 411, 413), body="TokenCreated"),
    ("DELETE", "/api/v1/tokens/NAME"): Operation({204: None}, (403, 404, 409)),
    ("PUT", "/api/v1/keys"): Operation({200: _object(id=_TEXT)}, (400, 403, 409, 411, 413), body="GossipKeyAdded"),
    ("DELETE", "/api/v1/keys/NAME"): Operation({204: None}, (403, 404, 409)),
    ("PUT", "/api/v1/primary_key"): Operation(
        {200: _object(keys=_list(_ref("GossipKey")))}, (400, 403, 404, 409, 411, 413), body="GossipKeyUsed"
    ),
    ("GET", "/api/v1/events"): Operation({200: _TEXT}, (400, 404), media="text/event-stream"),
    ("GET", "/api/v1/http_sd"): Operation(
        {200: _list(_object(targets=_list(_TEXT), labels=_map(_TEXT)))},
        (400,),
    ),
    ("GET", "/api/v1/openapi.json"): Operation({200: {"type": "object"}}),
    ("GET", "/metrics"): Operation({200: _TEXT}, media="text/plain; version=0.0.4; charset=utf-8"),
    ("PUT", "/api/v1/drain"): Operation({200: _object(draining=_BOOLEAN)}, (403,)),
    ("DELETE", "/api/v1/drain"): Operation({200: _object(draining=_BOOLEAN)}, (403,)),
    ("POST", "/api/v1/join"): Operation({200: _ref("Joined")}, (400, 403, 411, 413, 502, 503), body="JoinWanted"),
    ("POST", "/api/v1/leave"): Operation({202: _object(status=_TEXT)}, (403,)),
}

#: A boolean in a query; the bare name means true.
_FLAG: Final[Json] = {"type": ["boolean", "string"], "enum": [True, False, "", "true", "false", "1", "0"]}

#: The query parameters of all routes: the schema of each, and its description.
_PARAMETERS: Final[Mapping[str, tuple[Json, str]]] = {
    "all": (_FLAG, "Also return instances that cannot serve."),
    "healthy": (_FLAG, "Return only instances that can serve."),
    "tag": (_WORD, "Return only instances with this tag."),
    "zone": (_WORD, "Return only instances in this zone."),
    "role": (_WORD, "Return only instances with this role."),
    "count": (_within(1, PICKS_MAX), "How many calls to draw; default: 100."),
    "strategy": (_enum(list(get_args(Strategy))), "How callers choose; default: random."),
    "caller_zone": (_WORD, "The zone of the callers: instances there are preferred."),
    "failover": (_WORD, "Regions, with commas between, of which the first that can serve answers if this one cannot."),
    "failover_threshold": (
        {"type": "number", "minimum": 0, "maximum": 1},
        "The share of its instances below which a region cannot serve; default: 0, where one instance is enough.",
    ),
    "region": (_WORD, "Answer about this region; default: the agent's own."),
    "panic": (
        {"type": "number", "minimum": 0, "maximum": 1},
        "If less than this share can be reached because many owners failed at once, include the lost ones, as stale.",
    ),
    "versions": (_FLAG, "Ask the members whose version is not known yet; it takes 1.5 s if one does not answer."),
    "stated": (_FLAG, "Give `stated_weight`, too: the weight before policies and drains."),
    "service": (_WORD, "Return only what concerns this service."),
    "owner": (_WORD, "Return only instances that this member registered."),
    "check": (_WORD, "The name of the ttl check; default: all ttl checks of the instance."),
    "health": (_enum(["passing", "warning", "critical"]), "The health of the service; default: passing."),
    "note": (_WORD, "A note that is shown beside the health."),
    "reason": (_WORD, "The reason, a text for users."),
    "index": (_within(0, 2**63 - 1), "Answer once the index differs from this one; 0: at once."),
    "wait": ({"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h)?$"}, "How long to wait for a change; default: 5m."),
}

#: How a request presents its token, where one is required.
_SECURITY: Final[Json] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "token": {"type": "apiKey", "in": "header", "name": "X-Gossipreg-Token"},
}

#: Why seeds were not joined, by seed.
_JOIN_FAILURES: Final = _map(_object(reason=_TEXT, detail=_TEXT))

#: The schemas of fields that are rendered as another type.
_AS_RENDERED: Final[Mapping[tuple[type, str], Json]] = {
    (Instance, "sealed"): _BOOLEAN,
    (NodeInfo, "fingerprint"): {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    (NodeInfo, "join_failures"): _JOIN_FAILURES,
}

#: The schemas of fields in requests, where they differ from those in answers.
_AS_INSTANCE: Final[Mapping[str, Json]] = {
    "service": _NAME,
    "port": _within(0, 65_535),
    "host": _optional(_HOST),
    "tags": {**_list({**_WORD, "maxLength": limits.TAG_CHARS_MAX}), "maxItems": limits.TAGS_MAX},
    "meta": {
        **_map(_TEXT),
        "propertyNames": {"minLength": 1, "maxLength": limits.META_KEY_CHARS_MAX},
        "maxProperties": limits.META_ENTRIES_MAX,
    },
    "weight": _within(0, limits.WEIGHT_MAX),
    "role": _optional(_NAME),
    "id": _optional(_ID),
    "term": {"oneOf": [_within(0, limits.TERM_MAX), _enum(["next"])]},
    "checks": _list({}),
    "credentials": {**_map(_TEXT), "writeOnly": True},
}

#: One of this node's own checks.
_CHECK: Final = _object(
    instance=_TEXT,
    service=_TEXT,
    name=_TEXT,
    kind=_TEXT,
    target=_TEXT,
    health=_ref("Health"),
    reason=_TEXT,
    health_age=_NUMBER,
    flapping=_BOOLEAN,
    needed=_WHOLE,
    runs=_WHOLE,
    run_age=_optional(_NUMBER),
    took=_optional(_NUMBER),
    output={**_optional(_TEXT), "description": "null if the token's scopes do not include checks"},
    settings={"type": "object"},
)


#: What has changed lately. The fields of a change depend on its event.
_CHANGES: Final = _object(
    now=_NUMBER,
    began=_optional(_NUMBER),
    complete_from=_optional(_NUMBER),
    since=_object(
        members=_map(_NUMBER),
        instances=_list(_object(service=_TEXT, owner=_TEXT, id=_TEXT, at=_NUMBER)),
    ),
    changes=_list(_object(at=_NUMBER, event=_TEXT)),
)


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
        "components": {"schemas": _schemas(), "securitySchemes": _SECURITY},
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
        answers[str(status)] = _answer(status, _ref("Error"), "application/json")
    refusal = {"description": "The request is refused; `error` says why."}
    answers["default"] = _answer(0, _ref("Error"), "application/json") | refusal
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
        one = _ref(declared.body)
        content: Json = {"application/json": {"schema": one}}
        if declared.takes_lists:
            content = {"application/json": {"schema": {"oneOf": [one, _list(one)]}}, NDJSON: {"schema": one}}
        made["requestBody"] = {"required": True, "content": content}
    return made


def _parameters(route: Route) -> list[Json]:
    made = []
    if route.takes_argument:
        name = route.path.rpartition("/")[2].lower()
        made.append({"name": name, "in": "path", "required": True, "schema": _TEXT})
    for name in route.query:
        schema, what = _PARAMETERS[name]
        made.append({"name": name, "in": "query", "description": what, "schema": schema})
    return made


def _answer(status: int, schema: Json | None, media: str) -> Json:
    made: Json = {"description": "Success." if status < 300 else "Failure; the body says why."}
    if schema is not None:
        made["content"] = {media: {"schema": schema}}
    return made


# Shapes


def _schemas() -> dict[str, Json]:
    node = _noun(NodeInfo)
    health = {"status": _enum(["ok", "draining", "leaving"]), **node["properties"]}
    return {
        "Health": _enum([str(each) for each in Health]),
        "Status": _enum([str(each) for each in Status]),
        "Instance": _instance(),
        "Role": _role(),
        "Scope": {
            **_TEXT,
            "pattern": f"^({'|'.join(Scope)})(:[A-Za-z0-9._*-]+)?$",
            "description": "A scope, and for some scopes the service, or the pattern of services, that it is for.",
        },
        "Member": _noun(Member),
        "MemberSeen": _member_seen(),
        "Changes": _CHANGES,
        "ServiceCount": _noun(ServiceCount),
        "Node": node,
        "NodeHealth": {**_object(**health), "required": ["status"]},  # the rest only for tokens that may read it
        "Check": _CHECK,
        "Policy": {"oneOf": [_policy(kind) for kind in KINDS]},
        "PolicySet": {"oneOf": [_policy(kind, hits=_WHOLE) for kind in KINDS]},
        "PolicyWanted": {"oneOf": [_wanted(kind) for kind in KINDS]},
        "Registration": _request(InstanceSpec),
        "FollowRequest": _object(
            region=_NAME,
            directory={**_TEXT, "maxLength": 64, "description": "The digest that was told last, or nothing."},
            services={
                **_map(_within(0, 2**63 - 1)),
                "propertyNames": _NAME,
                "maxProperties": limits.REGION_SERVICES_MAX,
            },
            wait={"type": "number", "minimum": 0, "maximum": 60},
            run={**_TEXT, "maxLength": limits.RUN_CHARS_MAX, "description": "Of the agent that gave the indexes."},
        ),
        "Readiness": _object(ready=_BOOLEAN, reason=_TEXT),
        "JoinWanted": _object(seeds={**_list(_WORD), "minItems": 1, "maxItems": limits.JOIN_SEEDS_MAX}),
        "Joined": _object(joined=_list(_TEXT), failures=_JOIN_FAILURES),
        "GossipKey": _object(
            id=_TEXT,
            primary=_BOOLEAN,
            held_by=_WHOLE,
            used_by=_WHOLE,
            not_held_by=_list(_TEXT),
            until=_optional(_NUMBER),
        ),
        "GossipKeyAdded": _object(
            key={**_TEXT, "pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", "description": "32 bytes in base64."}
        ),
        "GossipKeyUsed": {
            **_object(
                id=_TEXT,
                keep={**_TEXT, "description": "How long the key so far stays held, such as 72h."},
                force=_BOOLEAN,
            ),
            "required": ["id"],
        },
        "Identity": _object(
            mode=_enum(["off", "prefer", "require"]),
            until=_optional(_NUMBER),
            members=_list(
                _object(
                    name=_NAME,
                    present=_BOOLEAN,
                    certificate=_optional(_TEXT),
                    authority=_optional(_TEXT),
                    until=_optional(_NUMBER),
                    ready=_BOOLEAN,
                )
            ),
            revoked=_list(
                _object(
                    certificate=_TEXT,
                    names=_list(_TEXT),
                    at=_NUMBER,
                    exposed=_list(_object(owner=_NAME, service=_NAME, id=_TEXT)),
                )
            ),
            refused=_map(_WHOLE),
        ),
        "Revocation": _object(revocation={**_TEXT, "description": "The line that `gossipreg ca revoke` writes."}),
        "TokenListed": {
            **_object(
                name=_NAME,
                scopes=_list(_TEXT),
                **{"from": _enum(["cluster", "file"])},
                expires=_optional(_NUMBER),
                accepted=_BOOLEAN,
                writer=_TEXT,
                at=_NUMBER,
            ),
            "required": ["name", "scopes", "from", "expires", "accepted"],
        },
        "TokenCreated": {
            **_object(
                name=_NAME,
                token_sha256={**_TEXT, "pattern": "^[0-9a-fA-F]{64}$"},
                scopes=_list(_ref("Scope")),
                ttl={**_TEXT, "description": "How long it is accepted, such as 720h; else until it is revoked."},
            ),
            "required": ["name", "token_sha256", "scopes"],
        },
        "Error": {**_object(error=_TEXT, code=_TEXT, field=_TEXT), "required": ["error", "code"]},
    }


def _member_seen() -> Json:
    """A member, with the round trip from this node to it (seconds), and what it runs; null where that is not known."""
    member = _noun(Member)
    return _object(**member["properties"], round_trip=_optional(_NUMBER), version=_optional(_TEXT), protocol=_WHOLE)


def _role() -> Json:
    """The terms of a service. The answer to a reset may have a note that no term was lowered."""
    role = _object(
        service=_TEXT,
        claimed=_WHOLE,
        seen=_WHOLE,
        primary={"oneOf": [_INSTANCE, {"type": "null"}]},
        reset_by=_optional(_TEXT),
        reset_at=_optional(_NUMBER),
    )
    note = {**_TEXT, "description": "In the answer to a reset: why the term was not lowered."}
    return {**role, "properties": {**role["properties"], "note": note}}


def _instance() -> Json:
    """An instance. The answer to a write may have a note on why it is not called as it was registered."""
    instance = _noun(Instance)
    note = {**_TEXT, "description": "In the answer to a write: why the instance is not called as it was registered."}
    stated = {**_WHOLE, "description": "With `stated`: its weight before policies and drains."}
    region = {**_TEXT, "description": "Of an instance of another region: which it is."}
    properties = {**instance["properties"], "note": note, "stated_weight": stated, "region": region}
    return {**instance, "properties": properties, "required": [*filter("region".__ne__, instance["required"])]}


def _policy(kind: str, **more: Json) -> Json:
    """A policy in answers, with ``more`` fields."""
    about = {"key": _TEXT, "kind": _enum([kind]), "service": _TEXT, "writer": _TEXT, "at": _NUMBER}
    return _object(**about, **_RULES[kind], **more)


def _wanted(kind: str) -> Json:
    """A policy in requests: its value is under the name of its kind."""
    said = {"shares": "split", "reason": "maintenance"}
    fields = {"service": _NAME, **{said.get(name, name): schema for name, schema in _RULES[kind].items()}}
    required = [name for name in fields if name not in ("by", "owner")]
    return {**_object(**fields), "required": required, "additionalProperties": False}


#: The fields of each kind of rule, without its service.
_RULES: Final[Mapping[str, Mapping[str, Json]]] = {
    "split": {
        "by": _enum(["tag", "zone"]),
        "shares": {
            **_map(_within(0, limits.WEIGHT_MAX)),
            "propertyNames": {"minLength": 1, "maxLength": limits.TAG_CHARS_MAX},
            "minProperties": 1,
            "maxProperties": limits.SPLIT_SHARES_MAX,
        },
    },
    "weight": {"instance": _ID, "owner": _optional(_TEXT), "weight": _within(0, limits.WEIGHT_MAX)},
    "maintenance": {
        "instance": _ID,
        "owner": _optional(_TEXT),
        "reason": {**_TEXT, "maxLength": limits.REASON_CHARS_MAX},
    },
}


def _request(class_: type[Any]) -> Json:
    """The schema of a class in requests: fields with a default are optional, unknown ones are refused."""
    required = [each.name for each in attrs.fields(class_) if each.default is attrs.NOTHING]
    return {**_noun(class_, _AS_INSTANCE), "required": required, "additionalProperties": False}


def _noun(class_: type[Any], known: Mapping[str, Json] | None = None) -> Json:
    """The schema of a class in answers, with all its fields; ``known``: the schemas of some of them."""
    hints = get_type_hints(class_)
    names = [each.name for each in attrs.fields(class_)]
    known = known or {name: schema for (owner, name), schema in _AS_RENDERED.items() if owner is class_}
    properties = {name: known.get(name) or _schema(hints[name]) for name in names}
    return _object(**properties)


def _schema(type_: Any) -> Json:
    """The schema of a type that a field has."""
    plain = {str: _TEXT, int: _WHOLE, float: _NUMBER, bool: _BOOLEAN, Address: _TEXT, Any: {}}
    if type_ in plain:
        return plain[type_]
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return _ref(type_.__name__)
    if isinstance(type_, types.UnionType):
        (inner,) = (each for each in get_args(type_) if each is not type(None))
        return _optional(_schema(inner))
    if get_origin(type_) in (tuple, list):
        return _list(_schema(get_args(type_)[0]))
    assert issubclass(get_origin(type_), Mapping), f"no schema for {type_}"
    return _map(_schema(get_args(type_)[1]))
