"""Intervals contain the true value, and are no wider than needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg_sim.oracles.statistics import mean_between, percentile, wilson


@given(st.integers(1, 10_000), st.data())
def test_the_interval_contains_the_measured_rate(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0.0 <= low <= successes / trials <= high <= 1.0


def test_wilsons_interval_narrows_and_is_sound_for_rate_zero() -> None:
    assert wilson(0, 100)[0] == 0.0
    assert wilson(0, 100)[1] == pytest.approx(0.2)
    assert wilson(0, 10_000)[1] == pytest.approx(0.0025, rel=0.01)
    low, high = wilson(500, 1_000)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(0.156, abs=0.001)


def test_the_interval_of_a_mean() -> None:
    assert mean_between([2.0, 2.0, 2.0]) == (2.0, 2.0)
    low, high = mean_between([1.0, 2.0, 3.0, 4.0])
    assert (low + high) / 2 == 2.5
    assert high - low == pytest.approx(10 * 1.291 / 2, abs=0.01)


def test_a_percentile_is_one_of_the_samples() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([7.0], 0.0) == 7.0
