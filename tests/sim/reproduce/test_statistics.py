"""Quantiles, percentages and intervals."""

from __future__ import annotations

from gossipreg_sim.reproduce.statistics import interval, mean, percent, quantile


def test_a_quantile_is_the_nearest_rank() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [quantile(values, share) for share in (0.0, 0.2, 0.5, 0.99, 1.0)] == [1.0, 1.0, 3.0, 5.0, 5.0]
    assert quantile([], 0.5) is None


def test_the_mean_of_no_values_is_none() -> None:
    assert (mean([1.0, 2.0]), mean([])) == (1.5, None)


def test_a_percentage_of_zero_is_none() -> None:
    assert (percent([1, 2], [4, 8]), percent([0], [0])) == (25.0, None)


def test_equal_runs_give_an_interval_of_width_zero() -> None:
    assert interval([1, 2, 3], [2, 4, 6]) == (50.0, 50.0)


def test_different_runs_give_an_interval_around_the_share() -> None:
    bounds = interval([0, 1, 8, 2, 0, 3], [10, 10, 10, 10, 10, 10])
    assert bounds is not None
    assert bounds[0] < 23.4 < bounds[1]


def test_nearly_empty_runs_give_no_interval() -> None:
    assert interval([0, 0, 0], [0, 0, 1]) is None
