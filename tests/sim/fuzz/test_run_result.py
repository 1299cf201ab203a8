"""A result states what failed in a run, whatever happened, and is small."""

from __future__ import annotations

import pickle
from typing import NoReturn

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.fuzz import run_result as module
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.run_result import result_of, run_and_check
from gossipreg_sim.runner import ORACLES, run_scenario
from gossipreg_sim.scenario import Scenario
from tests.sim.making import scenario

QUIET = Scenario(name="quiet", title="Quiet", nodes=3, warmup=2.0, duration=1.0)


def test_a_good_run_is_good_and_has_the_trace_hash() -> None:
    result, outcome = run_and_check(QUIET, 3), run_scenario(QUIET, 3)
    assert outcome.is_good
    assert (result.is_good, result.digest, result.marks) == (True, outcome.digest, outcome.marks)
    assert result.seconds == outcome.seconds
    assert result.took > 0


def test_a_result_states_which_oracles_applied() -> None:
    applied_here = run_and_check(QUIET, 3).applied
    assert list(applied_here) == [oracle.__name__ for oracle in ORACLES]
    assert applied_here["MonotonicBeliefs"]
    assert not applied_here["TombstoneRetention"]
    assert not applied_here["Restarts"]


def test_a_result_is_small_enough_to_send() -> None:
    assert len(pickle.dumps(run_and_check(QUIET, 3))) < 4096


def test_a_cluster_that_does_not_agree_is_not_live() -> None:
    result = run_and_check(scenario(Fault(kind="cut", nodes=("n3",)), quiet=0.0), 1)
    assert "liveness" in result.wrong


def test_a_run_that_misses_a_required_mark_fails() -> None:
    result = run_and_check(scenario(duration=1.0, sometimes=("failed",)), 1)
    assert result.wrong == ("vacuous",)
    assert result.detail == "the run did not reach failed"


def test_an_exception_is_a_failure_named_by_where_it_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_scenario: Scenario, _seed: int, **_: object) -> NoReturn:
        raise AssertionError("two\nlines")

    monkeypatch.setattr(module, "run_scenario", broken)
    result = run_and_check(QUIET, 3)
    assert result.wrong == ("AssertionError in test_run_result.py broken",)
    assert result.detail.startswith("AssertionError: two")


def test_a_run_over_its_time_limit_is_a_failure() -> None:
    result = run_and_check(QUIET, 3, patience=0.001)
    assert result.wrong == ("slow run",)
    assert result.detail == "took more than 0.001 s of CPU time"


def test_a_seed_gives_the_same_result_again() -> None:
    one, again = result_of(5, (3, 4)), result_of(5, (3, 4))
    assert (one.digest, one.wrong, one.marks) == (again.digest, again.wrong, again.marks)
    assert one.digest == run_and_check(generated(5, (3, 4)).scenario, 5).digest
