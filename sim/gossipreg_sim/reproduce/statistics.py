"""Statistics of the tables: quantiles, and the confidence of a ratio of two totals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gossipreg_sim.rng import Rng

#: Times that the runs are drawn again to see how far their totals might have been elsewhere.
_RESAMPLES: Final = 1000


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of no values."""
    return sum(values) / len(values) if values else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed (nearest rank); None of no values."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def percent(part: Sequence[float], whole: Sequence[float]) -> float | None:
    """The total of ``part`` in percent of that of ``whole``; None when that is 0."""
    return 100 * sum(part) / sum(whole) if sum(whole) else None


def interval(part: Sequence[float], whole: Sequence[float]) -> tuple[float, float] | None:
    """Where `percent` lies with 95 %: by drawing the runs, of which the two have pairs, again (bootstrap).

    None when too few of the draws have anything in them.
    """
    assert len(part) == len(whole), "runs come in pairs"
    rng = Rng.of("bootstrap")
    drawn = []
    for _ in range(_RESAMPLES):
        picks = [rng.below(len(part)) for _ in part]
        share = percent([part[pick] for pick in picks], [whole[pick] for pick in picks])
        if share is not None:
            drawn.append(share)
    low, high = quantile(drawn, 0.025), quantile(drawn, 0.975)
    return None if low is None or high is None or len(drawn) < _RESAMPLES * 0.9 else (low, high)
