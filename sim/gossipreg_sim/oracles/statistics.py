"""Confidence intervals of rates and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

#: Standard deviations that an interval reaches on either side: one honest run in a million falls outside.
SURE: Final = 5.0


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The interval that holds the true rate, almost surely (E. B. Wilson, 1927): sound for rare events, too."""
    assert 0 <= successes <= trials, "there are no more successes than trials"
    assert trials > 0, "nothing was tried"
    rate = successes / trials
    square = SURE * SURE
    middle = rate + square / (2 * trials)
    spread = SURE * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    # The rate itself is always inside, but for rounding.
    return max(0.0, min(rate, (middle - spread) / scale)), min(1.0, max(rate, (middle + spread) / scale))


def mean_between(samples: Sequence[float]) -> tuple[float, float]:
    """The interval that holds the true mean, almost surely; at least two samples are needed."""
    count = len(samples)
    mean = sum(samples) / count
    variance = sum((sample - mean) ** 2 for sample in samples) / (count - 1)
    spread = SURE * math.sqrt(variance / count)
    return mean - spread, mean + spread


def percentile(samples: Sequence[float], share: float) -> float:
    """The least sample that ``share`` of all samples do not exceed."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
