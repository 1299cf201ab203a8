"""View of the screen: what of the model the viewer wants to see, as keys change it."""

from __future__ import annotations

import re
from typing import Final

import attrs

#: The orders of members and services, each with what it puts first.
SORTS: Final = ("trouble", "name", "age")

#: The keys, each with what it does.
KEYS: Final = (
    ("↑ ↓ PgUp PgDn Home", "scroll members and services"),
    ("/", "only names with a word in them; Esc: all"),
    ("s", "sort by trouble, by name, or by age"),
    ("?", "this help"),
    ("q, Ctrl-C", "quit"),
)

#: Rows that a page is.
_PAGE: Final = 10

#: Longest word that is searched for (characters): as long as any name.
_FILTER_MAX: Final = 63

_KEY: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z~]|\x1bO[A-Z]|.", re.DOTALL)

_MOVES: Final = {
    **dict.fromkeys(("\x1b[A", "\x1bOA", "k"), -1),
    **dict.fromkeys(("\x1b[B", "\x1bOB", "j"), 1),
    "\x1b[5~": -_PAGE,
    "\x1b[6~": _PAGE,
    " ": _PAGE,
    **dict.fromkeys(("\x1b[H", "\x1bOH", "\x1b[1~", "g"), -(10**9)),
}


@attrs.define(eq=False, repr=False)
class ScreenView:
    """Which rows are shown, and in which order."""

    offset: int = 0  # rows of members and services that are above the screen
    filter: str = ""  # in lower case
    is_typing: bool = False  # the filter is being written
    sort: str = SORTS[0]
    is_help: bool = False

    def press(self, typed: bytes) -> bool:
        """Take keys as a terminal sends them; False if one of them ends the program."""
        return all(self._press(key) for key in _KEY.findall(typed.decode("utf-8", "replace")))

    def _press(self, key: str) -> bool:
        if self.is_typing:
            self._type(key)
        elif key in "qQ":
            return False
        elif key == "?":
            self.is_help = not self.is_help
        elif key == "/":
            self.is_typing, self.offset = True, 0
        elif key == "\x1b":
            self.filter, self.is_help = "", False
        elif key == "s":
            self.sort, self.offset = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)], 0
        else:
            self.offset = max(0, self.offset + _MOVES.get(key, 0))
        return True

    def _type(self, key: str) -> None:
        if key in ("\r", "\n"):
            self.is_typing = False
        elif key == "\x1b":
            self.is_typing, self.filter = False, ""
        elif key in ("\x7f", "\b"):
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and len(self.filter) < _FILTER_MAX:
            self.filter += key.lower()

    def shows(self, *texts: str) -> bool:
        """Whether one of these texts contains the filter."""
        return not self.filter or any(self.filter in each.lower() for each in texts)
