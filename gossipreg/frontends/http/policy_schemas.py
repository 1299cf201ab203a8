"""Schemas of the policies in the OpenAPI document, as they are shown and as they are set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gossipreg import limits
from gossipreg.frontends.http.json_schema import (
    BOOLEAN,
    NUMBER,
    TEXT,
    Json,
    list_of,
    map_of,
    object_of,
    one_of,
    optional,
    within,
)
from gossipreg.policy import KINDS
from gossipreg.prepared_query import PreparedQuery

NAME: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
    "maxLength": limits.NAME_CHARS_MAX,
}
ID: Final[Json] = {"type": "string", "pattern": "^[!-~]+$", "maxLength": limits.ID_CHARS_MAX}

#: The kinds that are set by this API: queries are defined by that of Consul.
SETTABLE: Final = tuple(kind for kind in KINDS if kind != PreparedQuery.kind)

#: The fields of each kind of rule, without its service.
_RULES: Final[Mapping[str, Mapping[str, Json]]] = {
    "split": {
        "by": one_of(["tag", "zone"]),
        "shares": {
            **map_of(within(0, limits.WEIGHT_MAX)),
            "propertyNames": {"minLength": 1, "maxLength": limits.TAG_CHARS_MAX},
            "minProperties": 1,
            "maxProperties": limits.SPLIT_SHARES_MAX,
        },
    },
    "weight": {"instance": ID, "owner": optional(TEXT), "weight": within(0, limits.WEIGHT_MAX)},
    "maintenance": {
        "instance": ID,
        "owner": optional(TEXT),
        "reason": {**TEXT, "maxLength": limits.REASON_CHARS_MAX},
    },
    "query": {
        "id": TEXT,
        "name": {**TEXT, "maxLength": limits.PREPARED_QUERY_NAME_CHARS_MAX},
        "tags": list_of(TEXT),
        "only_passing": BOOLEAN,
        "near": TEXT,
        "nearest": within(0, limits.REGIONS_MAX),
        "regions": list_of(TEXT),
        "ignored_checks": list_of(TEXT),
        "node_meta": map_of(TEXT),
        "service_meta": map_of(TEXT),
        "ttl": TEXT,
        "template": BOOLEAN,
        "remove_empty_tags": BOOLEAN,
    },
}


def policy_schema(kind: str, **more: Json) -> Json:
    """A policy in answers, with ``more`` fields."""
    about = {"key": TEXT, "kind": one_of([kind]), "service": TEXT, "writer": TEXT, "at": NUMBER}
    found = object_of(**about, **_RULES[kind], **more)
    if kind == PreparedQuery.kind:  # which states no field that has its default
        found["required"] = [*about, "id"]
    return found


def policy_wanted_schema(kind: str) -> Json:
    """A policy in requests: its value is under the name of its kind."""
    said = {"shares": "split", "reason": "maintenance"}
    fields = {"service": NAME, **{said.get(name, name): schema for name, schema in _RULES[kind].items()}}
    required = [name for name in fields if name not in ("by", "owner")]
    return {**object_of(**fields), "required": required, "additionalProperties": False}
