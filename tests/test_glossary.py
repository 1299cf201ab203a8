"""The glossary is in order, and says each word once."""

from __future__ import annotations

import re
from pathlib import Path

GLOSSARY = Path(__file__).parent.parent / "docs" / "glossary.md"
WORDS = re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", GLOSSARY.read_text(), re.MULTILINE)[1:]


def test_the_words_are_sorted() -> None:
    assert len(WORDS) > 40
    assert sorted(WORDS, key=str.casefold) == WORDS


def test_no_word_is_there_twice() -> None:
    assert len(set(WORDS)) == len(WORDS)
