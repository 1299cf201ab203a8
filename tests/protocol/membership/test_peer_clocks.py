"""How far the wall clock is from those of the peers."""

from __future__ import annotations

from gossipreg.protocol.membership.peer_clocks import PeerClocks
from tests.protocol.making import BORN


def test_without_readings_nothing_is_known() -> None:
    assert PeerClocks().skew(0.0, 0.0) is None


def test_the_median_of_the_peers_counts() -> None:
    clocks = PeerClocks()
    for run_id, off in enumerate((0, 10, 3_600_000)):
        clocks.note(run_id, BORN + 5000 + off, 5.0)
    assert clocks.skew(BORN + 90_010, 6.0) == 90.0


def test_a_clock_that_is_set_shows_at_once_against_old_readings() -> None:
    clocks = PeerClocks()
    clocks.note(1, BORN, 0.0)
    assert clocks.skew(BORN, 100.0) == 0.0
    assert clocks.skew(BORN - 60_000, 100.0) == -60.0


def test_old_readings_count_no_more_and_few_are_kept() -> None:
    clocks = PeerClocks()
    clocks.note(1, BORN, 0.0)
    assert clocks.skew(BORN, 121.0) is None
    for run_id in range(2, 20):
        clocks.note(run_id, BORN + 1000, 121.0)
    assert clocks.skew(BORN - 120_000, 122.0) == 0.0
    assert len(clocks._readings) == 16
