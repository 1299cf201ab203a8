"""The SWIM experiments, at a small scale."""

from __future__ import annotations

import pytest

from gossipreg_sim.reproduce.parallel_runs import RunOptions
from gossipreg_sim.reproduce.profiles import SWIM, SWIM_WITHOUT_SUSPICION, Profile
from gossipreg_sim.reproduce.statistics import mean
from gossipreg_sim.reproduce.swim import Plan, Run, reproduce, run_one


def test_the_load_is_two_messages_per_member_and_period() -> None:
    assert 1.9 <= run_one(Run("load", SWIM, 8, 20.0, 1)) <= 2.1


def test_the_first_detection_takes_about_two_periods() -> None:
    first = mean([run_one(Run("first", SWIM, 8, 30.0, seed)) for seed in range(20)])
    assert first is not None
    assert 1.2 <= first <= 2.6


@pytest.mark.slow
def test_without_suspicion_packet_loss_causes_failures() -> None:
    def stable(profile: Profile) -> float:
        return sum(run_one(Run("joins", profile, 10, 30.0, seed)) for seed in range(3))

    assert stable(SWIM_WITHOUT_SUSPICION) < stable(SWIM) == 30


def test_the_tables_have_a_row_for_each_size_and_each_protocol() -> None:
    order = RunOptions(ours=True, seed=0, jobs=1, command="again", progress=lambda _done, _of: None)
    steady, joins = reproduce(Plan(sizes=(4, 6), periods=4, crashes=2, joins=1, watched=2.0), order).tables
    assert [row[:2] for row in steady.rows] == [("SWIM", 4), ("SWIM", 6), ("gossipreg", 4), ("gossipreg", 6)]
    assert [row[0] for row in joins.rows] == ["SWIM", "infection", "gossipreg"]
