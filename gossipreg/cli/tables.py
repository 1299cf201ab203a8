"""Tables on a terminal: columns side by side while they fit, else a block of lines for each row.

An id, a name or an address is never broken: it is copied from there into the next command.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from gossipreg.text import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

#: The style of a word on a terminal, wherever it stands.
STYLES: Final[Mapping[str, str]] = {
    "alive": "green",
    "passing": "green",
    "suspect": "yellow",
    "draining": "yellow",
    "failed": "bold red",
    "critical": "bold red",
    "warning": "yellow",
    "maintenance": "yellow",
    "flapping": "yellow",
    "left": "dim",
    "isolated": "bold red",
    "-": "dim",
}

#: Columns of sentences and lists, which may be broken; all others hold one word each.
_BREAKABLE: Final = frozenset({"reason", "output", "meta", "tags", "rule", "value", "scopes", "not held by", "target"})

#: Least width of a column that is broken (cells): narrower, it would be a column of single words.
_BROKEN_MIN: Final = 14

#: Cells between two columns.
_GAP: Final = 3


class TextTable(NamedTuple):
    """Rows of text below the names of their columns; an empty cell is shown as ``-``.

    ``spare``: columns that a terminal which is too narrow leaves out, the first before the next. A pipe gets all.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    spare: tuple[str, ...] = ()

    def without(self, left_out: Container[str]) -> TextTable:
        """The table without the columns of these names."""
        kept = [place for place, column in enumerate(self.columns) if column not in left_out]
        rows = [tuple(row[place] for place in kept) for row in self.rows]
        return TextTable(tuple(self.columns[place] for place in kept), rows)


def print_table(table: TextTable, console: Console) -> None:
    """Print ``table``, without columns that are empty, as it fits the terminal."""
    spare = table.spare
    table = _filled(table)
    for count in range(len(spare) + 1):
        fitted = table.without(spare[:count])
        if least_width(fitted) <= console.width:
            console.print(rich_table(fitted))
            return
    for line in _blocks(table):
        console.print(line, soft_wrap=True)  # what is longer than a line is the terminal's to wrap, and stays one word


def rich_table(table: TextTable) -> RichTable:
    """The table as it looks on a terminal."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column, *cells in zip(table.columns, *table.rows, strict=True):
        numbers = all(map(str.isdecimal, cells))
        drawn.add_column(
            column, overflow="fold", no_wrap=column not in _BREAKABLE, justify="right" if numbers else "left"
        )
    for row in table.rows:
        drawn.add_row(*(Text(clean(cell), _style(cell)) for cell in row))
    return drawn


def _filled(table: TextTable) -> TextTable:
    """The table without empty columns: on a terminal they would take room from the others."""
    cells = zip(table.columns, *table.rows, strict=True)
    return table.without({column for column, *filled in cells if not any(filled)})


def least_width(table: TextTable) -> int:
    """The least width of a terminal that holds every word whole (cells)."""
    from rich.cells import cell_len

    total = _GAP * (len(table.columns) - 1)
    for column, *cells in zip(table.columns, *table.rows, strict=True):
        natural = max(cell_len(clean(cell)) for cell in (column, *cells))
        total += min(natural, _BROKEN_MIN) if column in _BREAKABLE else natural
    return total


def _blocks(table: TextTable) -> Iterator[Text]:
    """A line for each cell that is not empty, with its column's name; an empty line between two rows."""
    from rich.text import Text

    width = max(map(len, table.columns))
    for place, row in enumerate(table.rows):
        if place:
            yield Text("")
        for column, cell in zip(table.columns, row, strict=True):
            if cell:
                yield Text.assemble((column.ljust(width), "bold"), "  ", (clean(cell), _style(cell)))


def clean(text: str) -> str:
    """``text`` on one line and harmless to a terminal; ``-`` if it is empty."""
    return escaped(text) or "-"


def _style(cell: str) -> str:
    return STYLES.get(clean(cell), "")
