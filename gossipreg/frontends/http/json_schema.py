"""JSON Schema: the few forms of it that describe the documents of the native API (draft 2020-12)."""

from __future__ import annotations

from typing import Any, Final

Json = dict[str, Any]

TEXT: Final[Json] = {"type": "string"}
WHOLE: Final[Json] = {"type": "integer"}
NUMBER: Final[Json] = {"type": "number"}
BOOLEAN: Final[Json] = {"type": "boolean"}
WORD: Final[Json] = {"type": "string", "minLength": 1}


def ref(name: str) -> Json:
    """The schema of the component ``name``."""
    return {"$ref": f"#/components/schemas/{name}"}


def list_of(items: Json) -> Json:
    """A list of ``items``."""
    return {"type": "array", "items": items}


def map_of(values: Json) -> Json:
    """An object with any keys, and with ``values``."""
    return {"type": "object", "additionalProperties": values}


def object_of(**properties: Json) -> Json:
    """An object with these properties, all of them required."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def optional(schema: Json) -> Json:
    """What ``schema`` allows, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def within(low: int, high: int) -> Json:
    """A whole number from ``low`` to ``high``, both included."""
    return {"type": "integer", "minimum": low, "maximum": high}


def one_of(values: list[str]) -> Json:
    """One of these strings."""
    return {"type": "string", "enum": values}
