"""Diary of a scene: the beliefs of each node and their times, in a format common to both runners."""

from __future__ import annotations

from typing import Final

import attrs

#: Beliefs that last less than this (seconds) are left out: transitions within one instant.
_TRANSIENT: Final = 1e-6


@attrs.frozen
class Entry:
    """A belief that starts at ``at`` (seconds)."""

    at: float
    belief: str


@attrs.define
class Diary:
    """The beliefs of each observer about each subject (a member, or an instance), in order."""

    packets: int = 0  # sent by all
    pages: dict[tuple[str, str], list[Entry]] = attrs.field(factory=dict)

    def write(self, at: float, observer: str, subject: str, belief: str) -> None:
        """Record that ``observer`` believes this of ``subject`` from ``at`` on, unless repeated or transient."""
        page = self.pages.setdefault((observer, subject), [])
        if page and at - page[-1].at < _TRANSIENT:
            at = page.pop().at
        if not page or page[-1].belief != belief:
            page.append(Entry(at, belief))

    def beliefs(self) -> dict[tuple[str, str], list[str]]:
        """Return the beliefs without their times; subjects without any are left out."""
        return {key: [entry.belief for entry in self.pages[key]] for key in sorted(self.pages) if self.pages[key]}

    def times(self) -> list[float]:
        """Return the times of all entries, in the order of `beliefs`."""
        return [entry.at for key in sorted(self.pages) for entry in self.pages[key]]
