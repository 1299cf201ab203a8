"""View of the screen: what of the model the viewer wants to see, as keys change it."""

from __future__ import annotations

import re
from typing import Final

import attrs

#: The orders of members and services, each with what it puts first.
SORTS: Final = ("trouble", "name", "age")

#: The lists in which a row can be chosen, in the order of the key Tab.
PANELS: Final = ("members", "services")

#: The keys, each with what it does.
KEYS: Final = (
    ("↑ ↓ PgUp PgDn Home", "scroll"),
    ("Tab ↑ ↓, Enter", "choose a row, and show all of it"),
    ("Esc", "back"),
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
    """Which rows are shown, in which order, and which one is chosen or opened."""

    offset: int = 0  # rows of members and services that are above the screen
    filter: str = ""  # in lower case
    is_typing: bool = False  # the filter is being written
    sort: str = SORTS[0]
    is_help: bool = False
    panel: str = ""  # the list in which a row is chosen: one of `PANELS`, or none
    cursor: int = 0  # which one
    opened: tuple[str, str] | None = None  # the panel, and the name, of what details are shown
    lines_above: int = 0  # of the details, those above the screen
    listed: dict[str, list[str]] = attrs.field(factory=dict)  # the names in each panel, as they were drawn last

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
        elif self.opened is not None:
            self._press_in_details(key)
        elif key == "\t":
            places = (*PANELS, "")
            self.panel, self.cursor = places[(places.index(self.panel) + 1) % len(places)], 0
        elif key in ("\r", "\n"):
            self._open()
        elif key == "/":
            self.is_typing, self.offset, self.cursor = True, 0, 0
        elif key == "\x1b":
            self.filter, self.is_help, self.panel = "", False, ""
        elif key == "s":
            self.sort, self.offset = SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)], 0
        elif self.panel:
            last = max(0, len(self.listed.get(self.panel, ())) - 1)
            self.cursor = min(last, max(0, self.cursor + _MOVES.get(key, 0)))
        else:
            self.offset = max(0, self.offset + _MOVES.get(key, 0))
        return True

    def _press_in_details(self, key: str) -> None:
        if key in ("\x1b", "\r", "\n", "\x7f"):
            self.opened = None
        else:
            self.lines_above = max(0, self.lines_above + _MOVES.get(key, 0))

    def _open(self) -> None:
        """Show details of the row that is chosen; of the first service if none is."""
        self.panel = self.panel or "services"
        names = self.listed.get(self.panel, [])
        if self.cursor < len(names):
            self.opened, self.lines_above = (self.panel, names[self.cursor]), 0

    def chosen(self, panel: str) -> int | None:
        """Which row of that list is chosen."""
        return self.cursor if panel == self.panel else None

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
