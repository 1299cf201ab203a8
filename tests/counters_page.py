"""The table of counters in docs/metrics.md, made from the counters themselves.

`python -m tests.counters_page` writes it into the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from gossipreg.counters import Count

PAGE: Final = Path(__file__).parents[1] / "docs" / "metrics.md"

_MARKED: Final = re.compile(r"(<!-- counters: made from the code -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def with_table(text: str) -> str:
    """The page with its table as the counters are now."""
    rows = [f"| `{each}` | {each.unit} | {each.help} |" for each in Count]
    table = "\n".join(["| counter | of | what is counted |", "| --- | --- | --- |", *rows])
    return _MARKED.sub(lambda found: f"{found[1]}\n{table}\n", text)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
