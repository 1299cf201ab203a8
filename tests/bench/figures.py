"""Figures: what is measured, the targets, and how the figures of two products are compared."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from tests.bench.tables import markdown


@attrs.frozen
class Figure:
    """One measured quantity: the middle and the ends of ``n`` values. Infinity is what did not happen in time.

    The middle is the median; for what is counted over slices of time it is the mean, which is the count of them all.
    """

    middle: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float], *, slices: bool = False) -> Figure:
        """The figure that sums up ``values``."""
        middle = statistics.fmean(values) if slices else statistics.median(values)
        return cls(middle, min(values), max(values), len(values))

    def __str__(self) -> str:
        if self.n == 1:
            return digits(self.middle)
        return f"{digits(self.middle)} ({digits(self.low)} to {digits(self.high)}, n={self.n})"

    def json(self) -> dict[str, Any]:
        """For programs: infinity is null, because JSON has none."""
        return {key: value if math.isfinite(value) else None for key, value in attrs.asdict(self).items()}


def digits(value: float) -> str:
    """Three significant digits, as one would write them by hand."""
    if math.isinf(value):
        return "not in time"
    size = abs(value)  # what is left beyond rest may be less than nothing
    return f"{value:.0f}" if size >= 100 else f"{value:#.3g}" if size >= 0.1 else f"{value:.2g}"


#: Agents of each side for which the targets are meant, unless a row has another one for more.
MANY: Final = 64


@attrs.frozen
class Row:
    """One line of the table. Less is better in all of them."""

    key: str
    group: str
    title: str
    unit: str
    at_most_ratio: float | None = None  # of the peer's figure
    at_most: float | None = None  # in the row's unit
    at_most_of_many: float | None = None  # the same for more than `MANY` agents, where that is another

    def among(self, agents: int) -> Row:
        """The row with the targets for so many agents."""
        if self.at_most_of_many is None or agents <= MANY:
            return self
        return attrs.evolve(self, at_most=self.at_most_of_many)

    @property
    def target(self) -> str:
        """What the design asks for."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}".rstrip()
        return f"≤ {ratio_text(self.at_most_ratio)}" if self.at_most_ratio is not None else ""

    def verdict(self, ours: Figure | None, ratio: float | None) -> str:
        """Whether the target is met; nothing if there is none, or nothing to compare with."""
        if self.at_most is not None and ours is not None:
            return "met" if ours.middle <= self.at_most else "missed"
        if self.at_most_ratio is not None and ratio is not None:
            return "met" if ratio <= self.at_most_ratio else "missed"
        return ""


ROWS: Final = (
    Row("registration", "registration", "a registration (Serf: a tag), seen by the last", "ms", at_most_ratio=1 / 15),
    Row(
        "kill-gone", "kill", "`kill -9`: gone from the last lookup (Serf: failed everywhere)", "s", at_most_ratio=1 / 40
    ),
    Row("kill-failed", "kill", "`kill -9`: failed everywhere", "s"),
    Row("stop-gone", "stop", "SIGSTOP: gone from the last lookup (Serf: failed everywhere)", "s", at_most_ratio=1 / 4),
    Row("stop-failed", "stop", "SIGSTOP: failed everywhere", "s", at_most_ratio=1 / 2),
    Row("idle-bytes", "idle", "idle traffic a node, IP packets whole", "B/s", at_most_ratio=1),
    Row("idle-payload", "idle", "idle traffic a node, without IP, UDP and TCP headers", "B/s"),
    Row("idle-packets", "idle", "idle packets a node", "1/s"),
    Row("idle-cpu", "idle", "idle CPU a node, of one core", "%", at_most_ratio=1 / 2),
    Row("memory-rss", "memory", "memory a node, resident", "MiB"),
    Row("memory-pss", "memory", "memory a node, shared pages divided", "MiB"),
    Row(
        "cold-views",
        "cold",
        "cold start: last ready line to full, equal views",
        "s",
        at_most=2,
        at_most_of_many=5,
    ),
    Row("cold-ready", "cold", "cold start: first process started to last ready line", "s"),
    Row("cold-cpu", "cold", "CPU of one agent until it is ready", "s"),
    Row("one-packets", "burst", "a registration (Serf: a tag): packets a node, beyond those of rest", "", at_most=20),
    Row("one-bytes", "burst", "a registration (Serf: a tag): traffic a node, beyond that of rest", "B"),
    Row("one-cpu", "burst", "a registration (Serf: a tag): CPU a node, beyond that of rest", "ms"),
    Row("burst-seen", "burst", "a burst of registrations through one agent, all seen by the last", "s", at_most=6),
    Row("burst-answered", "burst", "a burst: the agent has answered them all", "s"),
    Row("burst-packets", "burst", "a burst: packets a node, beyond those of rest", "", at_most=300),
    Row("burst-bytes", "burst", "a burst: traffic a node, beyond that of rest", "KiB"),
    Row(
        "burst-beside",
        "burst",
        "in the middle of a burst: one through another agent, seen by the last",
        "ms",
    ),
    Row("burst-slower", "burst", "the same, beside one that is alone (times as long)", ""),
)

GROUPS: Final = tuple(dict.fromkeys(row.group for row in ROWS))


def ratio_text(ratio: float) -> str:
    """How many times more or less: 3 for 3.0, 1/20 for 0.05."""
    return _times(ratio) if ratio >= 1 or ratio == 0 else f"1/{_times(1 / ratio)}"


def _times(number: float) -> str:
    return f"{number:.0f}" if 1000 <= number < math.inf else f"{number:.3g}"


@attrs.define
class Board:
    """All figures of a run, by row and by side, and what has to be known about them."""

    sides: list[str]
    peer: str
    ours: str
    agents: int = MANY  # of each side
    news: str = "a tag"  # what an agent of the peer has in place of a registration
    has_targets: bool = True
    figures: dict[str, dict[str, Figure]] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)

    def put(self, key: str, side: str, figure: Figure) -> None:
        """Write down a figure for a row."""
        assert any(row.key == key for row in ROWS), key
        self.figures.setdefault(key, {})[side] = figure

    def ratio(self, key: str) -> float | None:
        """Ours divided by the peer's; None if that says nothing."""
        found = self.figures.get(key, {})
        if self.ours not in found or self.peer not in found:
            return None
        ours, peer = found[self.ours].middle, found[self.peer].middle
        return ours / peer if peer and math.isfinite(peer) else None

    def table(self) -> str:
        """Everything as a table in Markdown, aligned to be read as it is."""
        lines = [["what", "unit", *self.sides, "ratio", "target", ""]]
        for row in self._rows():
            found, ratio = self.figures[row.key], self.ratio(row.key)
            cells = [str(found[side]) if side in found else "" for side in self.sides]
            ratio_cell = "" if ratio is None else ratio_text(ratio)
            lines.append(
                [self._title(row), row.unit, *cells, ratio_cell, row.target, row.verdict(found.get(self.ours), ratio)]
            )
        return markdown(lines)

    def json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "sides": self.sides,
            "rows": [
                {
                    "key": row.key,
                    "title": self._title(row),
                    "unit": row.unit,
                    "figures": {side: figure.json() for side, figure in self.figures[row.key].items()},
                    "ratio": self.ratio(row.key),
                    "target": row.target,
                    "verdict": row.verdict(self.figures[row.key].get(self.ours), self.ratio(row.key)),
                }
                for row in self._rows()
            ],
            "notes": self.notes,
        }

    def _title(self, row: Row) -> str:
        """What the row is about, in the words of this peer."""
        return row.title.replace("Serf: a tag", f"{self.peer}: {self.news}").replace("Serf", self.peer)

    def _rows(self) -> Iterable[Row]:
        rows = (row.among(self.agents) for row in ROWS if row.key in self.figures)
        if self.has_targets:
            return rows
        return (attrs.evolve(row, at_most=None, at_most_ratio=None) for row in rows)
