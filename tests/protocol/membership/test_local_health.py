"""The local health score lengthens intervals and timeouts (Lifeguard §IV-A)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.membership.local_health import LocalHealth
from tests.protocol.making import law


def test_a_well_node_takes_no_longer_than_it_was_told() -> None:
    assert LocalHealth(8).stretch(0.5) == 0.5


def test_each_step_stretches_by_the_whole_once_more() -> None:
    health = LocalHealth(8)
    health.worse(3)
    assert health.stretch(0.5) == 2.0
    health.better()
    assert health.stretch(0.5) == 1.5


def test_with_a_worst_of_zero_it_is_turned_off() -> None:
    health = LocalHealth(0)
    health.worse(4)
    assert health.stretch(1.0) == 1.0


@law
@given(st.integers(0, 10), st.lists(st.one_of(st.none(), st.integers(0, 5))))
def test_the_score_stays_between_well_and_worst(worst: int, events: list[int | None]) -> None:
    health = LocalHealth(worst)
    for steps in events:
        health.better() if steps is None else health.worse(steps)
        assert 0 <= health.score <= worst
