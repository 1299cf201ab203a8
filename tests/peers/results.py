"""What real clients did, as a table: `python -m tests.peers.results FILE` writes it into docs/clients/README.md.

A test says what its client did with `record`; run the tests with GOSSIPREG_PEER_RESULTS=FILE to keep it. What the page
says of clients that were not run stays.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
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


def rows_of(page: str) -> list[dict[str, Any]]:
    """What the table of a page says."""
    found = _MARKED.search(page)
    assert found is not None, "the page has no marks for the table"
    rows = []
    for line in found[0].splitlines():
        match [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]:
            case [client, version, api, did, weights, seen] if client not in ("client", "---"):
                seconds = float(seen.removesuffix(" s")) if seen else None
                row = {"client": client, "version": version, "api": api, "did": did}
                rows.append({**row, "weights": weights, "seconds": seconds})
    return rows


def updated(page: str, rows: Sequence[dict[str, Any]]) -> str:
    """The page with the rows of a run, and with its own of other clients."""
    ran = {(row["api"], row["client"]) for row in rows}
    return with_table(page, [*(row for row in rows_of(page) if (row["api"], row["client"]) not in ran), *rows])


def with_table(page: str, rows: Iterable[dict[str, Any]]) -> str:
    """The page with the rows between its marks."""
    made = table(rows)
    text, count = _MARKED.subn(lambda found: f"{found[1]}\n{made}\n", page)
    assert count == 1, "the page has no marks for the table"
    return text


if __name__ == "__main__":
    kept = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    PAGE.write_text(updated(PAGE.read_text(), kept))
