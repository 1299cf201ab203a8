"""Nesting: how deep the lists and maps of a document are inside each other, whatever it was read from.

Python's readers go deeper than its stack allows what comes after: to compare values, to show one in an error sentence.
"""

from __future__ import annotations

from typing import Any, Final

#: What has other values inside it, in JSON, msgpack and TOML.
_NESTED: Final = (dict, list, tuple)


def check_depth(value: Any, most: int) -> None:
    """Raise ``ValueError`` if in a document more than ``most`` lists and maps are inside each other."""
    if is_deeper(value, most):
        raise ValueError(f"lists and maps are nested deeper than {most}")


def is_deeper(value: Any, most: int) -> bool:
    """Whether in a document more than ``most`` arrays and objects are inside each other; without recursion."""
    level = [value] if isinstance(value, _NESTED) else []
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, _NESTED)
        ]
        if not level:
            return False
    return True
