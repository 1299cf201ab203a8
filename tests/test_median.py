"""The median is that of the standard library."""

from __future__ import annotations

import statistics

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.median import median


@given(st.lists(st.floats(0, 1e9), min_size=1))
def test_it_is_the_middle_one_or_the_mean_of_the_two(values: list[float]) -> None:
    assert median(values) == statistics.median(values)
