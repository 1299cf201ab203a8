"""Knows how Consul's clients write a duration: ``1m30s``, ``120000ms``, or whole nanoseconds."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})(ns|us|µs|μs|ms|s|m|h)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")
_TEXT_MAX: Final = 64


def seconds(value: object) -> float | None:
    """The duration in seconds; None if it is none. A number, also one written as a text, is of nanoseconds."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value / 1e9 if 0 <= value < 1e19 else None
    if not isinstance(value, str) or len(value) > _TEXT_MAX:
        return None
    if value.isascii() and value.isdigit():
        return int(value) / 1e9
    if not _WHOLE.fullmatch(value):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value))
