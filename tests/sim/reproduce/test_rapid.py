"""The Rapid experiments, at a small scale."""

from __future__ import annotations

from gossipreg_sim.reproduce.parallel_runs import RunOptions
from gossipreg_sim.reproduce.profiles import MEMBERLIST, OURS
from gossipreg_sim.reproduce.rapid import Bootstrap, Plan, Run, Stability, reproduce, run_one


def test_members_that_join_at_once_all_see_each_other() -> None:
    for profile in (MEMBERLIST, OURS):
        outcome = run_one(Run("bootstrap", profile, 12, 60.0, 1))
        assert isinstance(outcome, Bootstrap)
        assert outcome.seconds is not None
        assert 1 <= outcome.sizes <= 12


def test_a_bootstrap_that_exceeds_its_time_limit_is_reported() -> None:
    outcome = run_one(Run("bootstrap", OURS, 12, 0.0, 1))
    assert outcome == Bootstrap(0, None)


def test_members_that_receive_nothing_for_long_fail_and_return() -> None:
    outcome = run_one(Run("flip-flop", MEMBERLIST, 16, 45.0, 1))
    assert isinstance(outcome, Stability)
    assert (outcome.bad, outcome.observers) == (10, 6)
    assert outcome.returns > 0


def test_the_tables_have_a_row_for_each_fault_and_each_protocol() -> None:
    order = RunOptions(ours=True, seed=0, jobs=1, command="again", progress=lambda _done, _of: None)
    bootstraps, stabilities = reproduce(Plan(joiners=(4,), members=12, seconds=2.0), order).tables
    assert [row[:2] for row in bootstraps.rows] == [("memberlist", 4), ("gossipreg", 4)]
    assert [row[1] for row in stabilities.rows] == ["flip-flop", "loss"] * 2
