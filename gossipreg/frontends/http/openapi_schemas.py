"""Schemas of the OpenAPI document: those of classes that the API returns, from their types, and of the rest."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs

from gossipreg import limits
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
from gossipreg.frontends.http.policy_schemas import ID, NAME, SETTABLE, policy_schema, policy_wanted_schema
from gossipreg.frontends.serving.scopes import Scope
from gossipreg.model import Address, Health, Instance, Member, ServiceCount, Status
from gossipreg.node_info import NodeInfo
from gossipreg.policy import KINDS
from gossipreg.spec import InstanceSpec

_HOST: Final[Json] = {"type": "string", "pattern": r"^[^\s\[\]/]+$", "maxLength": limits.HOST_CHARS_MAX}

INSTANCE: Final = ref("Instance")

#: Services with their counts, which are not known of another region.
LISTED: Final = {
    **object_of(
        services=map_of(object_of(instances=optional(WHOLE), healthy=optional(WHOLE))),
        region={**TEXT, "description": "The region, if it is another than the agent's."},
        stale={**BOOLEAN, "description": "Whether no agent of that region has confirmed it for too long."},
    ),
    "required": ["services"],
}

#: The instances of a service. A failover has no index.
FOUND: Final = {
    **object_of(
        index=WHOLE,
        instances=list_of(INSTANCE),
        region={**TEXT, "description": "The region that was asked for, or that a failover has led to."},
        stale={**BOOLEAN, "description": "Whether no agent of that region has confirmed it for too long."},
    ),
    "required": ["instances"],
}

#: What is told of a member only where it is asked for those of all cells.
_OF_CELLS: Final = {"cell": TEXT, "stale": BOOLEAN}

#: A cell of the region.
CELL: Final = object_of(
    name=TEXT,
    own=BOOLEAN,
    members=WHOLE,
    failed=WHOLE,
    instances=WHOLE,
    relays=list_of(TEXT),
    peers=list_of(TEXT),
    age=optional(NUMBER),
    stale=BOOLEAN,
    problem=TEXT,
)

#: A region that the agent knows.
REGION: Final = object_of(
    name=TEXT,
    own=BOOLEAN,
    agent=optional(TEXT),
    agents=list_of(TEXT),
    connected=BOOLEAN,
    age=optional(NUMBER),
    stale=BOOLEAN,
    round_trip=optional(NUMBER),
    services=WHOLE,
    followed=WHOLE,
    instances=WHOLE,
    problem=TEXT,
)

#: What an agent of another region is told.
FOLLOWED: Final = object_of(
    region=TEXT,
    node=TEXT,
    run=TEXT,
    age=NUMBER,
    waited=NUMBER,
    left_off=list_of(TEXT),
    directory={"oneOf": [object_of(digest=TEXT, whole=BOOLEAN, services=map_of(list_of(TEXT))), {"type": "null"}]},
    services=map_of(
        {
            "oneOf": [
                object_of(
                    index=WHOLE, healthy=list_of(INSTANCE), others=list_of(INSTANCE), members=map_of(ref("Member"))
                ),
                object_of(index=WHOLE, beyond=TEXT),
            ]
        }
    ),
)

#: What the agent has done in one interval, for each second of it.
RATES: Final = object_of(
    at=NUMBER,
    packets_in=NUMBER,
    packets_out=NUMBER,
    bytes_in=NUMBER,
    bytes_out=NUMBER,
    requests=NUMBER,
    round_trip=optional(NUMBER),
)

#: What calls to a service would get.
PICKS: Final = object_of(
    service=TEXT,
    strategy=TEXT,
    caller_zone=TEXT,
    picks=WHOLE,
    chosen=list_of(object_of(owner=TEXT, id=TEXT, zone=TEXT, weight=WHOLE, share=NUMBER, picks=WHOLE)),
    left_out=list_of(object_of(reason=TEXT, instances=WHOLE)),
)

#: What the members believe of each other.
OBSERVATIONS: Final = object_of(
    at=NUMBER,
    observer=TEXT,
    asked=WHOLE,
    answered=WHOLE,
    observers=list_of(
        object_of(name=TEXT, zone=TEXT, failure=TEXT, silent=BOOLEAN, version=TEXT, problems=list_of(TEXT))
    ),
    differences=list_of(object_of(observer=TEXT, member=TEXT, status=TEXT, link=TEXT, unanswered=WHOLE)),
    zones=list_of(
        {
            "type": "object",
            "properties": {
                "from": TEXT,
                "to": TEXT,
                "median": NUMBER,
                "worst": NUMBER,
                "links": WHOLE,
            },
            "required": ["from", "to", "median", "worst", "links"],
        }
    ),
    round_trips=list_of(object_of(observer=TEXT, members=map_of(NUMBER))),
)

#: Why seeds were not joined, by seed.
_JOIN_FAILURES: Final = map_of(object_of(reason=TEXT, detail=TEXT))

#: The schemas of fields that are rendered as another type.
_AS_RENDERED: Final[Mapping[tuple[type, str], Json]] = {
    (Instance, "sealed"): BOOLEAN,
    (NodeInfo, "fingerprint"): {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    (NodeInfo, "join_failures"): _JOIN_FAILURES,
}

#: The schemas of fields in requests, where they differ from those in answers.
_AS_INSTANCE: Final[Mapping[str, Json]] = {
    "service": NAME,
    "port": within(0, 65_535),
    "host": optional(_HOST),
    "tags": {**list_of({**WORD, "maxLength": limits.TAG_CHARS_MAX}), "maxItems": limits.TAGS_MAX},
    "meta": {
        **map_of(TEXT),
        "propertyNames": {"minLength": 1, "maxLength": limits.META_KEY_CHARS_MAX},
        "maxProperties": limits.META_ENTRIES_MAX,
    },
    "weight": within(0, limits.WEIGHT_MAX),
    "role": optional(NAME),
    "id": optional(ID),
    "term": {"oneOf": [within(0, limits.TERM_MAX), one_of(["next"])]},
    "checks": list_of({}),
    "credentials": {**map_of(TEXT), "writeOnly": True},
}

#: One of this node's own checks.
_CHECK: Final = object_of(
    instance=TEXT,
    service=TEXT,
    name=TEXT,
    kind=TEXT,
    target=TEXT,
    health=ref("Health"),
    reason=TEXT,
    health_age=NUMBER,
    flapping=BOOLEAN,
    needed=WHOLE,
    runs=WHOLE,
    run_age=optional(NUMBER),
    took=optional(NUMBER),
    output={**optional(TEXT), "description": "null if the token's scopes do not include checks"},
    settings={"type": "object"},
)


#: What has changed lately. The fields of a change depend on its event.
_CHANGES: Final = object_of(
    now=NUMBER,
    began=optional(NUMBER),
    complete_from=optional(NUMBER),
    since=object_of(
        members=map_of(NUMBER),
        instances=list_of(object_of(service=TEXT, owner=TEXT, id=TEXT, at=NUMBER)),
    ),
    changes=list_of(object_of(at=NUMBER, event=TEXT)),
)


def schemas() -> dict[str, Json]:
    """The components to which other schemas refer, by name."""
    node = _noun(NodeInfo)
    health = {"status": one_of(["ok", "draining", "leaving"]), **node["properties"]}
    return {
        "Health": one_of([str(each) for each in Health]),
        "Status": one_of([str(each) for each in Status]),
        "Instance": _instance(),
        "Role": _role(),
        "Scope": {
            **TEXT,
            "pattern": f"^({'|'.join(Scope)})(:[A-Za-z0-9._*-]+)?$",
            "description": "A scope, and for some scopes the service, or the pattern of services, that it is for.",
        },
        "Member": _member(),
        "MemberSeen": _member_seen(),
        "Changes": _CHANGES,
        "ServiceCount": _noun(ServiceCount),
        "Node": node,
        "NodeHealth": {**object_of(**health), "required": ["status"]},  # the rest only for tokens that may read it
        "Check": _CHECK,
        "Policy": {"oneOf": [policy_schema(kind) for kind in KINDS]},
        "PolicySet": {"oneOf": [policy_schema(kind, hits=WHOLE) for kind in SETTABLE]},
        "PolicyWanted": {"oneOf": [policy_wanted_schema(kind) for kind in SETTABLE]},
        "Registration": _request(InstanceSpec),
        "FollowRequest": object_of(
            region=NAME,
            directory={**TEXT, "maxLength": 64, "description": "The digest that was told last, or nothing."},
            services={
                **map_of(within(0, 2**63 - 1)),
                "propertyNames": NAME,
                "maxProperties": limits.REGION_SERVICES_MAX,
            },
            wait={"type": "number", "minimum": 0, "maximum": 60},
            run={**TEXT, "maxLength": limits.RUN_CHARS_MAX, "description": "Of the agent that gave the indexes."},
        ),
        "Readiness": object_of(ready=BOOLEAN, reason=TEXT),
        "JoinWanted": object_of(seeds={**list_of(WORD), "minItems": 1, "maxItems": limits.JOIN_SEEDS_MAX}),
        "Joined": object_of(joined=list_of(TEXT), failures=_JOIN_FAILURES),
        "GossipKey": object_of(
            id=TEXT,
            primary=BOOLEAN,
            held_by=WHOLE,
            used_by=WHOLE,
            not_held_by=list_of(TEXT),
            until=optional(NUMBER),
        ),
        "GossipKeys": {
            "type": "object",
            "properties": {
                "keys": list_of(ref("GossipKey")),
                "identity": {
                    **object_of(
                        mode={"enum": ["prefer", "require"]}, not_ready=list_of(TEXT), unsigned_policies=list_of(TEXT)
                    ),
                    "description": "Of a node with identity: what one which requires it would not believe.",
                },
            },
            "required": ["keys"],
        },
        "GossipKeyAdded": object_of(
            key={**TEXT, "pattern": "^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$", "description": "32 bytes in base64."}
        ),
        "GossipKeyUsed": {
            **object_of(
                id=TEXT,
                keep={**TEXT, "description": "How long the key so far stays held, such as 72h."},
                force=BOOLEAN,
            ),
            "required": ["id"],
        },
        "Identity": object_of(
            mode=one_of(["off", "prefer", "require"]),
            until=optional(NUMBER),
            members=list_of(
                object_of(
                    name=NAME,
                    present=BOOLEAN,
                    certificate=optional(TEXT),
                    authority=optional(TEXT),
                    until=optional(NUMBER),
                    ready=BOOLEAN,
                )
            ),
            revoked=list_of(
                object_of(
                    certificate=TEXT,
                    names=list_of(TEXT),
                    at=NUMBER,
                    exposed=list_of(object_of(owner=NAME, service=NAME, id=TEXT)),
                )
            ),
            refused=map_of(WHOLE),
        ),
        "Revocation": object_of(revocation={**TEXT, "description": "The line that `gossipreg ca revoke` writes."}),
        "CertificateRequest": object_of(request={**TEXT, "description": "The line that a node makes."}),
        "TokenListed": {
            **object_of(
                name=NAME,
                scopes=list_of(TEXT),
                **{"from": one_of(["cluster", "file"])},
                expires=optional(NUMBER),
                accepted=BOOLEAN,
                writer=TEXT,
                at=NUMBER,
            ),
            "required": ["name", "scopes", "from", "expires", "accepted"],
        },
        "TokenCreated": {
            **object_of(
                name=NAME,
                token_sha256={**TEXT, "pattern": "^[0-9a-fA-F]{64}$"},
                scopes=list_of(ref("Scope")),
                ttl={**TEXT, "description": "How long it is accepted, such as 720h; else until it is revoked."},
            ),
            "required": ["name", "token_sha256", "scopes"],
        },
        "Error": {**object_of(error=TEXT, code=TEXT, field=TEXT), "required": ["error", "code"]},
    }


def _member() -> Json:
    """A member; of which cell it is, only answers about all cells say."""
    return object_of(**{key: value for key, value in _noun(Member)["properties"].items() if key not in _OF_CELLS})


def _member_seen() -> Json:
    """A member, with the round trip from this node to it (seconds), and what it runs; null where that is not known."""
    seen = object_of(**_member()["properties"], round_trip=optional(NUMBER), version=optional(TEXT), protocol=WHOLE)
    proven = object_of(certificate=optional(TEXT), authority=optional(TEXT), until=optional(NUMBER), ready=BOOLEAN)
    seen["properties"]["identity"] = {**proven, "description": "Where the agent has an identity."}
    for key, type_ in _OF_CELLS.items():
        seen["properties"][key] = {**type_, "description": "In an answer about all cells."}
    return seen


def _role() -> Json:
    """The terms of a service. The answer to a reset may have a note that no term was lowered."""
    role = object_of(
        service=TEXT,
        claimed=WHOLE,
        seen=WHOLE,
        primary={"oneOf": [INSTANCE, {"type": "null"}]},
        reset_by=optional(TEXT),
        reset_at=optional(NUMBER),
    )
    note = {**TEXT, "description": "In the answer to a reset: why the term was not lowered."}
    return {**role, "properties": {**role["properties"], "note": note}}


def _instance() -> Json:
    """An instance. The answer to a write may have a note on why it is not called as it was registered."""
    instance = _noun(Instance)
    note = {**TEXT, "description": "In the answer to a write: why the instance is not called as it was registered."}
    stated = {**WHOLE, "description": "With `stated`: its weight before policies and drains."}
    region = {**TEXT, "description": "Of an instance of another region: which it is."}
    properties = {**instance["properties"], "note": note, "stated_weight": stated, "region": region}
    return {**instance, "properties": properties, "required": [*filter("region".__ne__, instance["required"])]}


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
    return object_of(**properties)


def _schema(type_: Any) -> Json:
    """The schema of a type that a field has."""
    plain = {str: TEXT, int: WHOLE, float: NUMBER, bool: BOOLEAN, Address: TEXT, Any: {}}
    if type_ in plain:
        return plain[type_]
    if isinstance(type_, type) and issubclass(type_, enum.Enum):
        return ref(type_.__name__)
    if isinstance(type_, types.UnionType):
        (inner,) = (each for each in get_args(type_) if each is not type(None))
        return optional(_schema(inner))
    if get_origin(type_) in (tuple, list):
        return list_of(_schema(get_args(type_)[0]))
    assert issubclass(get_origin(type_), Mapping), f"no schema for {type_}"
    return map_of(_schema(get_args(type_)[1]))
