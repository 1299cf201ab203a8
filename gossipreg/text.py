"""Text from clients, peers and files: whether it can be encoded, and how it is shown on one line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: A lone surrogate, half of a character in UTF-16: JSON and MessagePack can carry one, UTF-8 cannot.
LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")

#: Longest quotation of a value in an error sentence (characters).
SHOWN_CHARS: Final = 80


def is_text(value: object, low: int = 0, high: int | None = None) -> bool:
    """Whether ``value`` is a string of ``low`` to ``high`` characters that can be written as UTF-8."""
    if not isinstance(value, str) or len(value) < low or (high is not None and len(value) > high):
        return False
    return value.isascii() or LONE_SURROGATE.search(value) is None


def shown(value: object, chars: int = SHOWN_CHARS) -> str:
    """``value`` as error sentences quote it: its repr, cut to ``chars`` characters."""
    return shortened(repr(value), chars)


def shortened(text: str, chars: int = SHOWN_CHARS) -> str:
    """``text``, cut to ``chars`` characters."""
    return text if len(text) <= chars else f"{text[: chars - 3]}..."


def blanked(text: str) -> str:
    """``text`` with a space in place of each character that is not printable, such as a newline or an escape."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)


def escaped(text: str) -> str:
    """``text`` with a backslash escape in place of each character that is not printable, so that none is lost."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def counted(number: int, noun: str) -> str:
    """``number`` of what ``noun`` names in the singular: "1 instance", "2 instances"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def nearest(word: str, words: Iterable[str], likeness: float = 0.6) -> str | None:
    """The one of ``words`` that ``word`` was probably meant to be, if any is similar enough (``likeness``: 0 to 1)."""
    from difflib import get_close_matches  # needed only on the way to an error

    matches = get_close_matches(word, sorted(words), n=1, cutoff=likeness)
    return matches[0] if matches else None


def utc(seconds: int) -> str:
    """A moment in ISO 8601 and UTC, such as 2026-11-30T08:25:44+00:00; ``seconds`` since the epoch, 0 or more.

    Written here because pure code must not import `datetime`, which reads the clock. The calendar is Gregorian
    (Hinnant, "chrono-compatible low-level date algorithms", ``civil_from_days``).
    """
    days, rest = divmod(seconds, 86_400)
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    number = day - (153 * month + 2) // 5 + 1
    year, month = year + 400 * era + (month >= 10), month + (3 if month < 10 else -9)
    hours, minutes = divmod(rest // 60, 60)
    return f"{year:04}-{month:02}-{number:02}T{hours:02}:{minutes:02}:{rest % 60:02}+00:00"
