"""JSON documents: read with a bound on how deep their arrays and objects are nested.

Python's reader raises `RecursionError` for a document that is nested deeper than its stack, and what is a little less
deep fails later, where a value is shown in an error sentence or written again. So everything that others may have
written is read here.
"""

from __future__ import annotations

import json
from typing import Any

from gossipreg import limits
from gossipreg.nesting import is_deeper


def read_json(text: bytes | str) -> Any:
    """The value that ``text`` says. Raises ``ValueError`` for what is no JSON, or is nested too deeply."""
    too_deep = f"arrays and objects are nested deeper than {limits.JSON_DEPTH_MAX}"
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(too_deep) from None
    if _has_brackets(text) and is_deeper(value, limits.JSON_DEPTH_MAX):
        raise ValueError(too_deep)
    return value


def _has_brackets(text: bytes | str) -> bool:
    """Whether ``text`` has as many opening brackets as a document takes that is too deep."""
    brackets = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    return brackets > limits.JSON_DEPTH_MAX
