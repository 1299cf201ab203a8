"""The median of numbers; importing `statistics`, with fractions and decimals, would add 5 ms to a start."""

from __future__ import annotations

from collections.abc import Iterable


def median(values: Iterable[float]) -> float:
    """The middle one of ``values``, or the mean of the two; there is at least one."""
    ranked = sorted(values)
    middle = len(ranked) // 2
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2
