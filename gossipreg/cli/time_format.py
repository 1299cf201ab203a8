"""Times and durations, formatted for people and for programs."""

from __future__ import annotations

import time


def local(seconds: float) -> str:
    """A time since the epoch for people: local date and time, to the millisecond."""
    return _written("%Y-%m-%d %H:%M:%S", time.localtime(seconds), seconds)


def utc(seconds: float) -> str:
    """A time since the epoch for programs: ISO 8601 in UTC, to the millisecond."""
    return _written("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds), seconds) + "Z"


def duration(seconds: float) -> str:
    """``23 ms`` or ``6.312 s``."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3f} s"


def _written(form: str, moment: time.struct_time, seconds: float) -> str:
    return f"{time.strftime(form, moment)}.{int(seconds * 1000) % 1000:03d}"
