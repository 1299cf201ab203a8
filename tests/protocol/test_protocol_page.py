"""docs/protocol.md has every message, and its fields."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gossipreg.protocol.wire import messages

PAGE = Path(__file__).parents[2] / "docs" / "protocol.md"
ROWS = re.findall(r"^\| (\d+) \| `(\w+)` \| (.*?) ?\|$", PAGE.read_text(), re.MULTILINE)

#: Those whose fields are not one to one, with how many of them the page names.
IRREGULAR = {
    (messages._MEMBER_UPDATE, "MemberUpdate"): messages._MEMBER_UPDATE_FIELDS - 1,
    (messages._COMPARE, "Compare"): 2,
}


def fields() -> dict[tuple[int, str], int]:
    """How many fields each message has."""
    return {(form.number, form.noun.__name__): len(form.fields) for form in messages._FORMS} | IRREGULAR


def test_every_message_is_in_the_table_under_its_number() -> None:
    assert {(int(number), name) for number, name, _ in ROWS} == set(fields())


@pytest.mark.parametrize(("number", "name", "said"), ROWS)
def test_a_message_has_as_many_fields_as_the_table_says(number: str, name: str, said: str) -> None:
    assert len([each for each in said.split(", ") if each]) == fields()[int(number), name]
