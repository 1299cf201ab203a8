"""Difference of two runs: the first differing line, and the figures that differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from gossipreg_sim.report.journal import Figure, Journal, Line, document_of
from gossipreg_sim.world import SECOND

#: Lines shown before the divergence, and of each run after it.
_BEFORE: Final = 4
_AFTER: Final = 5

#: Maximum characters shown of a line; one frame can contain thousands of messages.
_WIDE: Final = 110


@attrs.frozen
class Difference:
    """The comparison of two runs. ``same`` is the number of lines that they share from the start."""

    one: Journal
    other: Journal
    same: int

    @property
    def is_none(self) -> bool:
        """Whether the runs are equal."""
        return self.same == len(self.one.lines) == len(self.other.lines) and not self.figures

    @property
    def figures(self) -> list[tuple[str, Figure, Figure]]:
        """The figures that differ, with both values; a figure that a run lacks counts as 0."""
        names = dict.fromkeys([*self.one.figures, *self.other.figures])
        both = [(name, self.one.figures.get(name, 0), self.other.figures.get(name, 0)) for name in names]
        return [(name, here, there) for name, here, there in both if here != there]


def difference(one: Journal, other: Journal) -> Difference:
    """Compare two runs."""
    pairs = enumerate(zip(one.lines, other.lines, strict=False))
    shortest = min(len(one.lines), len(other.lines))
    return Difference(one, other, next((place for place, (here, there) in pairs if here != there), shortest))


def as_lines(found: Difference, names: tuple[str, str]) -> Iterator[str]:
    """Yield the lines of the difference; ``names`` are the two runs as given on the command line."""
    one, other = found.one, found.other
    yield f"A  {names[0]}: {one.name}"
    yield f"B  {names[1]}: {other.name}"
    yield ""
    if found.is_none:
        yield f"no difference in {found.same:,} steps"
        return
    yield from _divergence(found)
    yield ""
    yield from _table(found.figures)


def _divergence(found: Difference) -> Iterator[str]:
    here, there = found.one.lines[found.same :], found.other.lines[found.same :]
    if not here and not there:
        yield f"the same {found.same:,} steps; only the figures differ"
        return
    at = min(rest[0].at for rest in (here, there) if rest)
    yield f"the same for {found.same:,} steps; they diverge at {at / SECOND:.6f} s"
    for line in found.one.lines[max(0, found.same - _BEFORE) : found.same]:
        yield f"     {_shown(line)}"
    yield from _following("A", here)
    yield from _following("B", there)


def _following(name: str, lines: Sequence[Line]) -> Iterator[str]:
    yield from (f"  {name}  {_shown(line)}" for line in lines[:_AFTER])
    if not lines:
        yield f"  {name}  ends"


def _shown(line: Line) -> str:
    text = f"{line.at / SECOND:>11.6f}  {line.node:<4} {line.text}"
    return text if len(text) <= _WIDE else f"{text[: _WIDE - 1]}…"


def _table(rows: list[tuple[str, Figure, Figure]]) -> Iterator[str]:
    if not rows:
        yield "all figures are equal"
        return
    cells = [("", "A", "B"), *((name, _formatted(here), _formatted(there)) for name, here, there in rows)]
    wide = [max(len(row[column]) for row in cells) for column in range(3)]
    for name, here, there in cells:
        yield f"{name:<{wide[0]}}  {here:>{wide[1]}}  {there:>{wide[2]}}"


def _formatted(figure: Figure) -> str:
    match figure:
        case None:
            return "never"
        case bool():
            return "yes" if figure else "no"
        case int() | float():
            return f"{figure:,}"
        case _:
            return figure


def as_document(found: Difference) -> dict[str, Any]:
    """Return the difference as a JSON document; times are in seconds."""
    here, there = (journal.lines[found.same : found.same + _AFTER] for journal in (found.one, found.other))
    return {
        "a": found.one.name,
        "b": found.other.name,
        "equal": found.is_none,
        "same_steps": found.same,
        "before": [document_of(line) for line in found.one.lines[max(0, found.same - _BEFORE) : found.same]],
        "a_goes_on": [document_of(line) for line in here],
        "b_goes_on": [document_of(line) for line in there],
        "figures": {name: {"a": a, "b": b} for name, a, b in found.figures},
    }
