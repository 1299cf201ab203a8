"""The probe timeout follows the round-trip times of the last acks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.membership.round_trips import RoundTrips
from tests.protocol.making import law


def test_of_a_stranger_nothing_is_known_so_it_gets_the_longest_time() -> None:
    trips = RoundTrips(0.1, 0.5)
    assert trips.timeout(1) == 0.5
    assert trips.smoothed(1) is None


def test_the_first_measurement_counts_as_it_is_and_later_ones_move_it() -> None:
    trips = RoundTrips(0.001, 10.0)
    trips.measured(1, 0.1)
    assert trips.timeout(1) == pytest.approx(0.3)
    trips.measured(1, 0.1)
    assert trips.smoothed(1) == pytest.approx(0.1)
    assert trips.timeout(1) == pytest.approx(0.25)


def test_a_measurement_moves_the_average_by_an_eighth_and_the_variation_by_a_quarter() -> None:
    """As RFC 6298 has it."""
    trips = RoundTrips(0.001, 10.0)
    trips.measured(1, 0.1)
    trips.measured(1, 0.2)
    assert trips.smoothed(1) == pytest.approx(0.1125)
    assert trips.timeout(1) == pytest.approx(0.1125 + 4 * (0.75 * 0.05 + 0.25 * 0.1))


def test_a_steady_member_is_given_the_least_time_in_the_end() -> None:
    trips = RoundTrips(0.1, 0.5)
    for _ in range(9):
        trips.measured(1, 0.0005)
    assert trips.timeout(1) == 0.1


def test_who_is_gone_is_forgotten() -> None:
    trips = RoundTrips(0.1, 0.5)
    trips.measured(1, 0.01)
    trips.measured(2, 0.01)
    trips.keep(lambda run_id: run_id == 2)
    assert trips.timeout(2) == 0.1
    assert trips.timeout(1) == 0.5


@law
@given(st.lists(st.floats(0, 100), max_size=20))
def test_the_time_is_always_within_its_bounds(measured: list[float]) -> None:
    trips = RoundTrips(0.1, 0.5)
    for seconds in measured:
        trips.measured(1, seconds)
        assert 0.1 <= trips.timeout(1) <= 0.5
