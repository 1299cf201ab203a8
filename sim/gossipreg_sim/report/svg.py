"""SVG charts: lines and dots over time, with bands for faults, for light and dark backgrounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

import attrs

from gossipreg_sim.report.timeline import Band

_WIDTH: Final = 860
_LEFT: Final = 56
_RIGHT: Final = 14
_PANEL: Final = 150
_GAP: Final = 44
_HEAD: Final = 54

#: Colours that colour-blind readers can tell apart (Okabe and Ito), for light and dark backgrounds.
_STYLE: Final = """
svg { background: #fff; font: 12px system-ui, sans-serif; }
text { fill: #1c2127; } .quiet { fill: #59626d; } .grid { stroke: #dfe3e8; } .band { fill: #cf4f0b; fill-opacity: .13; }
.line { fill: none; stroke-width: 1.6; } .s0 { stroke: #0072b2; } .s1 { stroke: #d18a00; } .s2 { stroke: #cf3a0b; }
.f0 { fill: #0072b2; } .f1 { fill: #d18a00; } .f2 { fill: #cf3a0b; }
@media (prefers-color-scheme: dark) {
  svg { background: #181c22; } text { fill: #e6e9ed; } .quiet { fill: #a0a9b4; } .grid { stroke: #333a44; }
  .band { fill: #ee6a2c; fill-opacity: .2; } .s0 { stroke: #5ab4ec; } .s1 { stroke: #f0b040; } .s2 { stroke: #ff7a45; }
  .f0 { fill: #5ab4ec; } .f1 { fill: #f0b040; } .f2 { fill: #ff7a45; }
}
"""


@attrs.frozen
class Series:
    """Points over time (seconds); with ``steps`` each value holds until the next."""

    name: str
    points: Sequence[tuple[float, float]]
    steps: bool = False
    dots: bool = False


@attrs.frozen
class Panel:
    """One chart: its title, its series, and the least upper end of its axis."""

    title: str
    series: tuple[Series, ...]
    least: float = 1.0

    @property
    def highest(self) -> float:
        """The upper end of the axis."""
        return 1.03 * max(self.least, *(value for series in self.series for _, value in series.points), 0.0)


@attrs.frozen
class Figure:
    """Charts in a column over one common axis (time, unless ``unit`` says otherwise), with the faults as bands."""

    title: str
    subtitle: str
    end: float  # seconds
    bands: tuple[Band, ...]
    panels: tuple[Panel, ...]
    unit: str = "s"


def rendered(figure: Figure) -> str:
    """Return the figure as an SVG document."""
    height = _HEAD + len(figure.panels) * (_PANEL + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">',
        f"<title>{escape(figure.title)}</title><style>{_STYLE}</style>",
        f'<text x="{_LEFT}" y="20" font-size="15" font-weight="600">{escape(figure.title)}</text>',
        f'<text class="quiet" x="{_LEFT}" y="38">{escape(_cut(figure.subtitle))}</text>',
    ]
    for number, panel in enumerate(figure.panels):
        parts += _panel(figure, panel, _HEAD + 22 + number * (_PANEL + _GAP))
    return "\n".join([*parts, "</svg>", ""])


def _cut(text: str) -> str:
    most = (_WIDTH - _LEFT) // 6
    return text if len(text) <= most else f"{text[: most - 1]}…"


def round_steps(highest: float, count: int) -> list[float]:
    """Return about ``count`` round numbers from 0 up to ``highest``."""
    rough = highest / count or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * number for number in range(int(highest / step * (1 + 1e-9)) + 1)]


def _panel(figure: Figure, panel: Panel, top: float) -> Iterator[str]:
    floor = top + _PANEL - 30
    wide = _WIDTH - _LEFT - _RIGHT

    def x(seconds: float) -> float:
        return round(_LEFT + seconds / figure.end * wide, 1)

    def y(value: float) -> float:
        return round(floor - value / panel.highest * (floor - top), 1)

    yield f'<text x="{_LEFT}" y="{top - 8}">{escape(panel.title)}</text>'
    yield from _names(panel, top - 8)
    for band in figure.bands:
        width = max(1.0, round(x(band.ends) - x(band.begins), 1))
        said = f"<title>{escape(band.text)}</title>"
        yield f'<rect class="band" x="{x(band.begins)}" y="{top}" width="{width}" height="{floor - top}">{said}</rect>'
    for value in round_steps(panel.highest, 4):
        yield f'<path class="grid" d="M{_LEFT} {y(value)}H{_WIDTH - _RIGHT}"/>'
        yield f'<text class="quiet" text-anchor="end" x="{_LEFT - 6}" y="{y(value) + 4}">{value:,g}</text>'
    for seconds in round_steps(figure.end, 10):
        unit = f" {figure.unit}" if seconds == 0 else ""
        yield f'<text class="quiet" text-anchor="middle" x="{x(seconds)}" y="{floor + 16}">{seconds:g}{unit}</text>'
    for number, series in enumerate(panel.series):
        places = [(x(at), y(value)) for at, value in series.points]
        yield _dots(places, number) if series.dots else _line(places, number, steps=series.steps)


def _names(panel: Panel, y: float) -> Iterator[str]:
    right = _WIDTH - _RIGHT
    if len(panel.series) > 1:
        for number, series in reversed(list(enumerate(panel.series))):
            yield f'<text class="f{number}" text-anchor="end" x="{right}" y="{y}">{escape(series.name)}</text>'
            right -= 7 * len(series.name) + 18


def _line(places: Sequence[tuple[float, float]], number: int, *, steps: bool) -> str:
    drawn: list[str] = []
    last: float | None = None
    for place, (x, y) in enumerate(places):
        if y == last and 0 < place < len(places) - 1:
            continue  # only the ends of a level stretch are drawn
        if last is not None and y != last and (steps or places[place - 1][1] == last):
            drawn.append(f"L{x if steps else places[place - 1][0]:g} {last:g}")
        drawn.append(f"{'L' if drawn else 'M'}{x:g} {y:g}")
        last = y
    return f'<path class="line s{number}" d="{"".join(drawn)}"/>'


def _dots(places: Sequence[tuple[float, float]], number: int) -> str:
    # Many nodes see the same size in the same second: equal dots are drawn once.
    squares = "".join(f"M{x - 1.5:g} {y - 1.5:g}h3v3h-3z" for x, y in dict.fromkeys(places))
    return f'<path class="f{number}" d="{squares}"/>'
