"""Words about policies in the order of their stamps, with room for so many: which one gives way when there is no more.

Theory of operation (docs/decisions/0038). Which words are kept must follow from what was said, not from when it was
heard, or nodes would differ for ever. So the oldest gives way; but before any other that which is stamped the farthest
ahead of the wall clock, for a flood of those would push out all that was said by clocks that are right. One writer's
words give way to each other first, so that one writer cannot push out all others' either.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from gossipreg.protocol.registry.policies import Word

#: How far ahead of the wall clock a stamp may be to count as one of a clock that is right (ms).
_AHEAD_MS: Final = 60_000


def _rank(word: Word) -> tuple[int, int, str, int]:
    return word.rank


@attrs.define(eq=False, repr=False)
class RankedWords:
    """Words by rank, all together and of each writer. ``wall``: ms since the epoch."""

    _words: list[Word] = attrs.field(factory=list)
    _by_writer: dict[str, list[Word]] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._words)

    def accepts(self, word: Word, most: int, most_of_writer: int, wall: int) -> bool:
        """Whether ``word`` would stay, with room for ``most`` words and for ``most_of_writer`` of one writer."""
        words = self._by_writer.get(word.writer, [])
        if len(words) < most_of_writer:
            if len(self._words) < most:
                return True
            words = self._words
        last = words[-1]
        if is_ahead(last, wall):
            return word.rank < last.rank
        return not is_ahead(word, wall) and word.rank > words[0].rank

    def add(self, word: Word, most: int, most_of_writer: int, wall: int) -> Word | None:
        """Keep ``word``, which is there now whatever its stamp; returns the one that gives way to it, if any."""
        insort(self._words, word, key=_rank)
        insort(self._by_writer.setdefault(word.writer, []), word, key=_rank)
        words = self._by_writer[word.writer]
        if len(words) <= most_of_writer:
            if len(self._words) <= most:
                return None
            words = self._words
        first, last = (words[0 if words[0] is not word else 1], words[-1 if words[-1] is not word else -2])
        return last if is_ahead(last, wall) else first

    def discard(self, word: Word) -> None:
        """Keep ``word``, which is there, no more."""
        words = self._by_writer[word.writer]
        for each in (words, self._words):
            del each[bisect_left(each, word.rank, key=_rank)]
        if not words:
            del self._by_writer[word.writer]


def is_ahead(word: Word, wall: int) -> bool:
    """Whether ``word`` is stamped by a clock that was ahead, or in answer to such a word."""
    return word.ms > wall + _AHEAD_MS
