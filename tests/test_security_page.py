"""Each promise of docs/security.md names its test, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_promises import is_test

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()

NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE)))


def test_every_test_that_holds_a_promise_exists() -> None:
    assert [named for named in NAMED if not is_test(named)] == [], "renamed? then rename it here"


def test_every_promise_names_a_test() -> None:
    tables = re.findall(r"^\| promise \| held by \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert len(tables) == PAGE.count("| promise |")
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 30
    assert [row for row in rows if "`tests/" not in row] == []


def test_every_attacker_has_a_section_with_promises() -> None:
    for anchor in re.findall(r"\]\(#([\w-]+)\)", PAGE.partition("\n## ")[0]):
        [title] = [
            each for each in re.findall(r"^## (.+)$", PAGE, re.MULTILINE) if each.lower().replace(" ", "-") == anchor
        ]
        assert "| promise |" in PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
