"""Trees: the values that every Eureka document consists of, whether it is written as JSON or as XML.

They are the JSON that Eureka itself writes: attributes of an element are keys that begin with ``@``, the text beside
them is called ``$``, and a repeated element is a list: ``{"port": {"$": 8080, "@enabled": "true"}}``.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from gossipreg.limits import META_KEY_CHARS_MAX
from gossipreg.text import LONE_SURROGATE

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"
Tree: TypeAlias = dict[str, Value]

#: How deep a document may be. Eureka's own are five deep; those who read what others posted may read by recursion.
DEPTH_MAX: Final = 12


class MalformedDocument(ValueError):
    """A document that cannot be read; the sentence says why."""


def unparsable(why: str) -> MalformedDocument:
    """The error for a body that is not what it should be, in the words of Eureka's server and with the reason."""
    return MalformedDocument(f"cannot parse request body: {why}")


class KeyedTexts(dict[str, Value]):
    """KeyedTexts by keys of a user's choice: none of them is an attribute, whatever it begins with."""


def text_of(value: Value) -> str:
    """A text, or the text beside the attributes of an element; empty if there is none."""
    if isinstance(value, dict):
        value = value.get("$")
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None or isinstance(value, dict | list) else str(value)


def whole_number(value: Value) -> int | None:
    """A number that was sent as one, or as a text; None if it is not whole and at least 0."""
    text = text_of(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None


def table(value: Value) -> Tree:
    """What is below an element; empty if there is nothing."""
    return value if isinstance(value, dict) else {}


def check_values(value: Any, depth: int = DEPTH_MAX) -> None:
    """Raise ``MalformedDocument`` for what cannot be written again, or is more than ``depth`` deep."""
    if depth < 0:
        raise unparsable(f"the body is more than {DEPTH_MAX} deep")
    match value:
        case dict():
            for key, each in value.items():
                if len(key) > META_KEY_CHARS_MAX:
                    raise unparsable(f"the name {key!r:.80} is longer than {META_KEY_CHARS_MAX} characters")
                check_values(key, depth)
                check_values(each, depth - 1)
        case list():
            for each in value:
                check_values(each, depth - 1)
        case str():
            if LONE_SURROGATE.search(value):
                raise unparsable("the body holds half a surrogate pair, which is no character")
        case float():
            if not math.isfinite(value):
                raise unparsable(f"the body holds {value}, which is no number of JSON's")
