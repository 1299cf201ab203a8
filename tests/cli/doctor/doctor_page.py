"""The table of docs/doctor.md, made from the rules themselves.

`python -m tests.cli.doctor.doctor_page` writes it into the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from gossipreg.cli.doctor.rules import RULES

PAGE: Final = Path(__file__).parents[3] / "docs" / "doctor.md"

_MARKED: Final = re.compile(r"(<!-- rules: made from the code -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def with_table(text: str) -> str:
    """The page with its table as the rules are now."""
    head = "| rule | what is wrong | evidence | remedy |\n| --- | --- | --- | --- |"
    rows = [f"| `{each.name}` | {each.summary} | {each.evidence} | {each.remedy} |" for each in RULES]
    return _MARKED.sub(lambda found: f"{found[1]}\n{chr(10).join([head, *rows])}\n", text)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
