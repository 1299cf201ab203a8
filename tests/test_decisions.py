"""Decision records have one form: number, title, date and status, and the same headings in all of them."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))

#: What a section may be called. A record has the first two, in this order, and others where there is something to say.
REQUIRED = ("Question", "Decision")
OPTIONAL = {
    "At packet loss",
    "Before",
    "Considered",
    "Containers and service managers",
    "Costs",
    "Decided with it",
    "Findings",
    "Later results",
    "Not done",
    "Results",
    "When to look again",
}


def test_every_record_has_number_title_date_status_and_the_usual_headings() -> None:
    assert len(RECORDS) > 50
    for record in RECORDS:
        check_form(record)


def check_form(record: Path) -> None:
    """Fail unless the record has the form."""
    first, empty, status, *_ = lines = record.read_text().splitlines()
    title = re.fullmatch(r"# (\d{4}): ([A-Z].*[^.?!])", first)
    assert title is not None, (
        f'{record.name}: the title is "# 0046: What was decided", without a full stop or a question mark'
    )
    assert title[1] == record.name[:4]
    dated = re.match(r"Date: (\d{4}-\d\d-\d\d)\. Status: (accepted|superseded by \[\d{4}\]\([^)]+\))\.", status)
    assert not empty, record.name
    assert dated is not None, (
        f'{record.name}: after the title: an empty line, then "Date: 2026-11-29. Status: accepted."'
    )
    date.fromisoformat(dated[1])
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]
    assert headings[0] == "Question", record.name
    assert [each for each in headings if each in REQUIRED] == list(REQUIRED), record.name
    assert set(headings) - set(REQUIRED) <= OPTIONAL, record.name
    bold = r"\*\*(Question|Considered|Decided|Chosen|Costs?|Look again)\b"
    assert [line for line in lines if re.match(bold, line)] == [], record.name


def test_numbers_are_given_once() -> None:
    numbers = [each.name[:4] for each in RECORDS]
    assert len(numbers) == len(set(numbers))


def test_the_index_has_each_record_with_its_title_and_date() -> None:
    rows = []
    for record in RECORDS:
        first, _, status, *_ = record.read_text().splitlines()
        number, _, title = first.removeprefix("# ").partition(": ")
        rows.append(f"| [{number}]({record.name}) | {title} | {status[6:16]} |")
    assert re.findall(r"^\| \[\d.*$", (FOLDER / "README.md").read_text(), re.MULTILINE) == rows
