"""Diary of a scene: what each node came to believe and when, in words that both runners write alike."""

from __future__ import annotations

from typing import Final

import attrs

#: What is believed for less than this (seconds) is not written down: a flicker within one instant.
_FLICKER: Final = 1e-6


@attrs.frozen
class Entry:
    """From ``at`` (seconds) on, something was believed."""

    at: float
    word: str


@attrs.define
class Diary:
    """For each observer and subject (a member, or an instance), what was believed, in order."""

    packets: int = 0  # sent by all
    pages: dict[tuple[str, str], list[Entry]] = attrs.field(factory=dict)

    def write(self, at: float, observer: str, subject: str, word: str) -> None:
        """From ``at`` on ``observer`` believes ``word`` of ``subject``; repetitions and flickers are left out."""
        page = self.pages.setdefault((observer, subject), [])
        if page and at - page[-1].at < _FLICKER:
            at = page.pop().at
        if not page or page[-1].word != word:
            page.append(Entry(at, word))

    def words(self) -> dict[tuple[str, str], list[str]]:
        """The pages without their times; only those that have something on them."""
        return {key: [entry.word for entry in self.pages[key]] for key in sorted(self.pages) if self.pages[key]}

    def times(self) -> list[float]:
        """The times of all entries, in the order of `words`."""
        return [entry.at for key in sorted(self.pages) for entry in self.pages[key]]
