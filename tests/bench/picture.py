"""The picture of the ratios in docs/benchmarks.md: a bar for each, better to the left, on a logarithmic scale."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

import attrs

_WIDTH: Final = 960
_LEFT: Final = 470  # where words end
_RIGHT: Final = 60
_TOP: Final = 74
_ROW: Final = 22

#: The ends of the scale, in tenfolds: a ratio beyond is drawn at the end, and its figure tells.
_BEST, _WORST = -2.3, 1.7

_SAID: Final = "Left of 1 gossipreg is better, by so many times. The upright stroke is the target, where it is a ratio."

#: Colours that the colour-blind can tell apart (Okabe and Ito), for light and for dark grounds.
_STYLE: Final = """
svg { background: #fff; font: 12px system-ui, sans-serif; }
text { fill: #1c2127; } .quiet { fill: #59626d; } .grid { stroke: #dfe3e8; } .even { stroke: #59626d; }
.better { fill: #0072b2; } .worse { fill: #d18a00; } .target { stroke: #1c2127; stroke-width: 2; }
@media (prefers-color-scheme: dark) {
  svg { background: #181c22; } text { fill: #e6e9ed; } .quiet { fill: #a0a9b4; } .grid { stroke: #333a44; }
  .even { stroke: #a0a9b4; } .better { fill: #5ab4ec; } .worse { fill: #f0b040; } .target { stroke: #e6e9ed; }
}
"""


@attrs.frozen
class Bar:
    """One ratio, ours divided by theirs, as it is written; ``more`` where more is better."""

    what: str
    ratio: str
    target: str
    more: bool

    @property
    def tenfolds(self) -> float:
        """How many times ten ours is worse; below 0: better."""
        return _tenfolds(self.ratio, more=self.more)

    @property
    def aim(self) -> float | None:
        """The same of the target, if that is a ratio."""
        found = re.fullmatch(r"[≤≥] (1(?:/\d+)?)", self.target)
        return None if found is None else _tenfolds(found[1], more=self.more)


def _tenfolds(ratio: str, *, more: bool) -> float:
    over, _, under = ratio.partition("/")
    found = math.log10(float(over) / float(under or 1))
    return -found if more else found


def drawn(bars: Iterable[Bar]) -> str:
    """The bars as an SVG document, best first."""
    ordered = sorted(bars, key=lambda bar: bar.tenfolds)
    floor = _TOP + _ROW * len(ordered)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {floor + 30}" role="img">',
        f"<title>gossipreg beside others</title><style>{_STYLE}</style>",
        '<text x="14" y="22" font-size="15" font-weight="600">gossipreg beside others</text>',
        f'<text class="quiet" x="14" y="42">{_SAID}</text>',
        *_grid(floor),
    ]
    for number, bar in enumerate(ordered):
        parts += _bar(bar, _TOP + _ROW * number)
    return "\n".join([*parts, "</svg>", ""])


def _x(tenfolds: float) -> float:
    share = (min(max(tenfolds, _BEST), _WORST) - _BEST) / (_WORST - _BEST)
    return round(_LEFT + 60 + share * (_WIDTH - _LEFT - 60 - _RIGHT), 1)


def _grid(floor: int) -> Iterator[str]:
    for tenfolds, name in ((-2, "100 times better"), (-1, "10 times"), (0, "1"), (1, "10 times worse")):
        kind = "grid" if tenfolds else "even"
        yield f'<path class="{kind}" d="M{_x(tenfolds)} {_TOP - 4}V{floor + 4}"/>'
        yield f'<text class="quiet" text-anchor="middle" x="{_x(tenfolds)}" y="{floor + 20}">{name}</text>'


def _bar(bar: Bar, top: int) -> Iterator[str]:
    ends = sorted((_x(0), _x(bar.tenfolds)))
    outermost = ends if bar.aim is None else sorted((*ends, _x(bar.aim)))  # the figure is not written over the stroke
    kind = "better" if bar.tenfolds < 0 else "worse"
    where, anchor = (outermost[0] - 6, "end") if bar.tenfolds < 0 else (outermost[-1] + 6, "start")
    words = re.sub(r"`", "", bar.what)
    yield f'<text text-anchor="end" x="{_LEFT}" y="{top + 14}">{escape(words)}</text>'
    yield f'<rect class="{kind}" x="{ends[0]}" y="{top + 4}" width="{round(ends[1] - ends[0], 1)}" height="13" rx="2"/>'
    yield f'<text text-anchor="{anchor}" x="{where}" y="{top + 14}">{bar.ratio}</text>'
    if bar.aim is not None:
        yield f'<path class="target" d="M{_x(bar.aim)} {top + 2}v17"/>'
