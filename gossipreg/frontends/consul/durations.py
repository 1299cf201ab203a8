"""Consul's durations: Go's notation, ``1m30s`` or ``120000ms``, or whole nanoseconds."""

from __future__ import annotations

from gossipreg.durations import parse_duration

#: Longest number of nanoseconds that is read from a string (digits).
_DIGITS_MAX = 64


def seconds(value: object) -> float | None:
    """The duration in seconds; None if ``value`` is no duration. A number, also as a string, is in nanoseconds."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value / 1e9 if 0 <= value < 1e19 else None
    if not isinstance(value, str):
        return None
    if value.isascii() and value.isdigit() and len(value) <= _DIGITS_MAX:
        return int(value) / 1e9
    return parse_duration(value)
