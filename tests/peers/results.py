"""What real clients did, as a table: `python -m tests.peers.results FILE` writes it into docs/clients/README.md.

A test says what its client did with `record`; run the tests with GOSSIPREG_PEER_RESULTS=FILE to keep it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "clients" / "README.md"

#: Names the file that results are appended to, one JSON object a line.
VARIABLE: Final = "GOSSIPREG_PEER_RESULTS"

_MARKED: Final = re.compile(r"(<!-- peers: made by tests -->\n).*?(?=\n?<!-- end -->)", re.DOTALL)


def record(*, client: str, version: str, api: str, did: str, weights: str = "", seconds: float | None = None) -> None:
    """Keep what a client did, if the results are wanted.

    ``weights`` is what it makes of weights, empty if it balances nothing; ``seconds`` how long it took to see a change.
    """
    row = {"client": client, "version": version, "api": api, "did": did, "weights": weights, "seconds": seconds}
    file = os.environ.get(VARIABLE)
    if file:
        with Path(file).open("a") as results:
            results.write(f"{json.dumps(row)}\n")


def table(rows: Iterable[dict[str, Any]]) -> str:
    """The rows in Markdown, sorted by API and client; of a client's repeated row the last counts."""
    latest = {(row["api"], row["client"], row["did"]): row for row in rows}
    lines = ["| client | version | API | what it did | weights | change seen after |", "|---|---|---|---|---|---|"]
    for _, row in sorted(latest.items()):
        seen = "" if row["seconds"] is None else f"{row['seconds']:.2f} s"
        cells = (row["client"], row["version"], row["api"], row["did"], row["weights"], seen)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def with_table(page: str, rows: Iterable[dict[str, Any]]) -> str:
    """The page with the rows between its marks."""
    made = table(rows)
    text, count = _MARKED.subn(lambda found: f"{found[1]}\n{made}\n", page)
    assert count == 1, "the page has no marks for the table"
    return text


if __name__ == "__main__":
    kept = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    PAGE.write_text(with_table(PAGE.read_text(), kept))
