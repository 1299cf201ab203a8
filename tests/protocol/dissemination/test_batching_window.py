"""How long a node's own broadcast waits for others to share its packets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.dissemination.batching_window import BatchingWindow
from tests.protocol.making import law

LEAST, MOST = 0.002, 0.064


def holds(window: BatchingWindow, *, said_every: float, times: int, late: float = 0.0) -> list[float]:
    """Return for how long each broadcast is held back (seconds), one every ``said_every``, each sent ``late``."""
    found: list[float] = []
    leaves = None
    for number in range(times):
        now = number * said_every
        if leaves is not None and now > leaves + late:
            window.sent(leaves + late)
            leaves = None
        if leaves is None:
            leaves = window.send_at(now)
            found.append(leaves - now)
        else:
            assert window.send_at(now) == leaves
    return found


def round_ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def test_a_broadcast_that_is_alone_waits_for_the_least_time_only() -> None:
    assert set(map(round_ms, holds(BatchingWindow(LEAST, MOST), said_every=0.003, times=300))) == {2}


def test_a_stream_is_held_back_for_twelve_times_as_long_and_no_longer() -> None:
    found = list(map(round_ms, holds(BatchingWindow(LEAST, MOST), said_every=0.0005, times=1000)))
    assert found[:6] == [2, 4, 8, 16, 24, 24]
    assert set(found[5:]) == {24}


def test_a_stream_is_held_back_for_no_longer_than_a_node_that_is_short_of_cpu() -> None:
    assert max(map(round_ms, holds(BatchingWindow(LEAST, 0.005), said_every=0.0005, times=1000))) == 5
    assert set(map(round_ms, holds(BatchingWindow(LEAST, 0.0), said_every=0.0005, times=1000))) == {2}


def test_after_a_stream_one_broadcast_is_quick_again() -> None:
    window = BatchingWindow(LEAST, MOST)
    now = 0.0
    for _ in range(6):
        window.send_at(now)
        now = window.send_at(now)
        window.sent(now)
    for hold in (12, 6, 3, 1.5, 1):
        leaves = window.send_at(now)
        assert leaves == pytest.approx(now + hold * LEAST)
        now = leaves
        window.sent(now)


def test_what_is_said_meanwhile_leaves_with_it() -> None:
    window = BatchingWindow(LEAST, MOST)
    assert window.send_at(5.0) == window.send_at(5.001) == 5.0 + LEAST


def test_after_each_late_departure_the_next_is_held_back_for_twice_as_long_up_to_a_limit() -> None:
    found = holds(BatchingWindow(LEAST, MOST), said_every=0.001, late=0.03, times=1000)
    assert list(map(round_ms, found))[:8] == [2, 4, 8, 16, 32, 64, 64, 64]


def test_after_one_in_time_for_half_as_long() -> None:
    window = BatchingWindow(LEAST, MOST)
    now = 0.0
    for late, hold in ((0.01, LEAST), (0.01, 2 * LEAST), (0.0, 4 * LEAST), (0.001, 2 * LEAST), (0.0, LEAST)):
        leaves = window.send_at(now)
        assert leaves == pytest.approx(now + hold)
        now = leaves + late
        window.sent(now)


def test_after_a_pause_news_is_quick_again() -> None:
    window = BatchingWindow(LEAST, MOST)
    window.send_at(0.0)
    window.sent(1.0)
    assert window.send_at(1.0 + MOST) == 1.0 + MOST + LEAST


def test_what_is_not_due_yet_is_still_waiting_when_something_else_is_sent() -> None:
    window = BatchingWindow(LEAST, MOST)
    window.send_at(0.0)
    window.sent(1.0)
    leaves = window.send_at(1.0)
    window.sent(1.0 + LEAST / 2)
    assert window.send_at(1.0 + LEAST / 2) == leaves == pytest.approx(1.0 + 2 * LEAST)


def test_what_is_overdue_takes_along_what_is_said_now() -> None:
    window = BatchingWindow(LEAST, MOST)
    assert window.send_at(0.0) == window.send_at(1.0) == LEAST


def test_it_may_be_turned_off() -> None:
    found = holds(BatchingWindow(LEAST, 0.0), said_every=0.001, late=0.03, times=1000)
    assert set(map(round_ms, found)) == {2}


@law
@given(st.lists(st.tuples(st.floats(0.0, 0.1), st.booleans()), min_size=1))
def test_nothing_is_held_back_for_longer_than_the_limit_nor_leaves_before_what_was_said_before_it(
    steps: list[tuple[float, bool]],
) -> None:
    window = BatchingWindow(LEAST, MOST)
    now = before = 0.0
    for gap, send in steps:
        now += gap
        leaves = window.send_at(now)
        assert before <= leaves <= now + MOST
        before = leaves
        if send:
            window.sent(now)


def test_what_leaves_within_a_moment_is_sent_to_the_very_end_of_it() -> None:
    window = BatchingWindow(0.25, 2.0)
    assert window.send_at(0.0) == 0.25
    window.sent(0.0)
    assert window.send_at(0.125) == 0.375, "the first has left; this is another departure"


def test_a_departure_that_is_late_by_a_moment_is_still_in_time() -> None:
    window = BatchingWindow(0.25, 2.0)
    assert window.send_at(0.0) == 0.25
    window.sent(0.5)
    assert window.send_at(0.5) == 0.75
    window.sent(1.125)
    assert window.send_at(1.125) == 1.625, "this one was later, and the next is held back for twice as long"
