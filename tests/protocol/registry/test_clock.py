"""The hybrid clock orders stamps although the wall clocks of nodes differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.registry.clock import AHEAD_MAX, Clock, Stamp
from tests.protocol.making import BORN, law


def test_a_stamp_is_the_wall_clocks_time() -> None:
    clock = Clock.started("a", BORN, 100.0)
    assert clock.stamp(101.5) == Stamp(BORN + 1500, 0, "a")


def test_stamps_of_one_millisecond_are_counted() -> None:
    clock = Clock("a", BORN)
    assert [clock.stamp(0.0) for _ in range(3)] == [Stamp(BORN, n, "a") for n in range(3)]


def test_a_full_counter_borrows_from_the_next_millisecond() -> None:
    clock = Clock("a", BORN)
    clock.observe(Stamp(BORN, 2**16 - 1, "b"), 0.0)
    assert clock.stamp(0.0) == Stamp(BORN + 1, 0, "a")


def test_a_stamp_from_too_far_a_future_is_not_believed() -> None:
    clock = Clock("a", BORN)
    assert not clock.observe(Stamp(BORN + AHEAD_MAX + 1, 0, "b"), 0.0)
    assert clock.stamp(0.0) == Stamp(BORN, 0, "a")


def test_a_stamp_from_just_not_too_far_a_future_is_believed() -> None:
    clock = Clock("a", BORN)
    assert clock.observe(Stamp(BORN + AHEAD_MAX, 0, "b"), 0.0)
    assert clock.stamp(0.0) == Stamp(BORN + AHEAD_MAX, 1, "a")


def test_an_old_stamp_that_is_heard_late_does_not_take_the_clock_back() -> None:
    clock = Clock("a", BORN)
    for old in (Stamp(BORN - 7, 9, "b"), Stamp(BORN + 500, 3, "b"), Stamp(BORN + 500, 1, "b")):
        latest = clock.stamp(0.0)
        assert clock.observe(Stamp(BORN + 500, 4, "b"), 0.0)
        assert clock.observe(old, 0.0)
        assert clock.stamp(0.0) > max(latest, Stamp(BORN + 500, 4, "a"))


def test_a_clock_that_was_set_right_believes_what_it_did_not() -> None:
    clock = Clock("a", 0)
    present = Stamp(BORN, 0, "b")
    assert not clock.observe(present, 0.0)
    clock.set(BORN, 5.0)
    assert clock.observe(present, 5.0)
    assert clock.stamp(6.0) == Stamp(BORN + 1000, 0, "a")


def test_no_stamp_is_earlier_than_the_last_although_the_clock_was_set_back() -> None:
    clock = Clock("a", BORN)
    assert clock.stamp(1.0) == Stamp(BORN + 1000, 0, "a")
    clock.set(BORN - AHEAD_MAX // 2, 2.0)
    assert clock.stamp(2.0) == Stamp(BORN + 1000, 1, "a")


def test_a_clock_that_was_set_back_by_more_than_others_believe_starts_anew() -> None:
    clock = Clock("a", BORN + 2 * AHEAD_MAX)
    clock.stamp(1.0)
    clock.set(BORN, 2.0)
    assert clock.stamp(2.0) == Stamp(BORN, 0, "a")
    assert clock.stamp(2.0) == Stamp(BORN, 1, "a")


@law
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(0, 3))))
def test_what_is_said_in_answer_to_something_is_later_than_it(steps: list[tuple[str, str, int]]) -> None:
    """Clocks that are a second apart, and time that stands still or crawls."""
    clocks = {name: Clock(name, BORN + 1000 * number) for number, name in enumerate("abc")}
    now = 0.0
    for speaker, listener, passed in steps:
        now += passed / 1000
        said = clocks[speaker].stamp(now)
        assert clocks[listener].observe(said, now)
        assert clocks[listener].stamp(now) > said
