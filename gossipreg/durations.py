"""Durations in the notation of Go's ParseDuration: ``500ms``, ``1m30s``, ``2h``.

Settings, health checks, command lines, the HTTP API and the compatibility APIs all read durations here.
"""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER: Final = r"(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})"
_PART: Final = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+")
_PLAIN: Final = re.compile(_NUMBER)

#: Longest text that is read (characters).
_CHARS_MAX: Final = 64


def parse_duration(text: str) -> float | None:
    """The duration in seconds if ``text`` is one or more numbers with a unit each; else None."""
    if len(text) > _CHARS_MAX or not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_seconds(text: str) -> float | None:
    """As `parse_duration`; a number without a unit is in seconds."""
    if len(text) <= _CHARS_MAX and _PLAIN.fullmatch(text):
        return float(text)
    return parse_duration(text)
