"""Statistics of the tables: quantiles, and the confidence interval of a ratio of two totals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from gossipreg_sim.rng import Rng

#: Bootstrap resamples.
_RESAMPLES: Final = 1000


def mean(values: Sequence[float]) -> float | None:
    """Return the mean; None if there are no values."""
    return sum(values) / len(values) if values else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that ``share`` of the values do not exceed (nearest rank); None if there are none."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def percent(part: Sequence[float], whole: Sequence[float]) -> float | None:
    """Return the total of ``part`` in percent of that of ``whole``; None if that is 0."""
    return 100 * sum(part) / sum(whole) if sum(whole) else None


def interval(part: Sequence[float], whole: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of `percent`, by resampling paired runs (bootstrap).

    None if too few of the resamples have a total above 0.
    """
    assert len(part) == len(whole), "each run has a part and a whole"
    rng = Rng.of("bootstrap")
    drawn = []
    for _ in range(_RESAMPLES):
        picks = [rng.below(len(part)) for _ in part]
        share = percent([part[pick] for pick in picks], [whole[pick] for pick in picks])
        if share is not None:
            drawn.append(share)
    low, high = quantile(drawn, 0.025), quantile(drawn, 0.975)
    return None if low is None or high is None or len(drawn) < _RESAMPLES * 0.9 else (low, high)
