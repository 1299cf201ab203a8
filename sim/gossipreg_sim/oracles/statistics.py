"""Confidence intervals of rates and means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

#: Half-width of an interval in standard deviations: one correct run in a million falls outside.
SURE: Final = 5.0


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the interval that almost surely holds the true rate (E. B. Wilson, 1927); sound for rare events, too."""
    assert 0 <= successes <= trials, "successes are among the trials"
    assert trials > 0, "there is at least one trial"
    rate = successes / trials
    square = SURE * SURE
    middle = rate + square / (2 * trials)
    spread = SURE * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    # The rate itself is always inside, except for rounding.
    return max(0.0, min(rate, (middle - spread) / scale)), min(1.0, max(rate, (middle + spread) / scale))


def mean_between(samples: Sequence[float]) -> tuple[float, float]:
    """Return the interval that almost surely holds the true mean; needs at least two samples."""
    count = len(samples)
    mean = sum(samples) / count
    variance = sum((sample - mean) ** 2 for sample in samples) / (count - 1)
    spread = SURE * math.sqrt(variance / count)
    return mean - spread, mean + spread


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the least sample that at least ``share`` of all samples do not exceed."""
    return sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
