"""Tables of results, as text and as JSON documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

Cell = str | int | float | None


@attrs.frozen
class Table:
    """Rows, column names, and the notes needed to read them."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def lines(self) -> Iterator[str]:
        """Yield the text, with the first column left-aligned and the others right-aligned."""
        cells = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.columns))]
        yield self.title
        for row in cells:
            first = row[0].ljust(widths[0])
            yield "  ".join([first, *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        if self.note:
            yield self.note

    def document(self) -> dict[str, Any]:
        """Return JSON: one object for each row, by column."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in self.rows]
        return {"title": self.title, "rows": rows, "note": self.note}


@attrs.frozen
class Findings:
    """The tables of one experiment, and the command that produces them again."""

    experiment: str
    command: str
    tables: tuple[Table, ...]

    def lines(self, took: float) -> Iterator[str]:
        """Yield the text; ``took`` is in seconds of real time."""
        for table in self.tables:
            yield from table.lines()
            yield ""
        yield f"{took:.0f} s; again: {self.command}"

    def document(self, took: float) -> dict[str, Any]:
        """Return JSON; ``took`` is in seconds of real time."""
        tables = [table.document() for table in self.tables]
        return {"experiment": self.experiment, "command": self.command, "seconds": round(took, 1), "tables": tables}


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def triple(values: Sequence[float | None]) -> str:
    """Join several values in one cell."""
    return " / ".join(map(_shown, values))
