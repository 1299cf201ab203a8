"""A verdict says what was wrong in a run, whatever it did, and is small."""

from __future__ import annotations

import pickle
from typing import NoReturn

import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.fuzz import verdict as module
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.verdict import judged, verdict_of
from gossipreg_sim.runner import ORACLES, run_scenario
from gossipreg_sim.scenario import Scenario
from tests.sim.making import scenario

QUIET = Scenario(name="quiet", title="Quiet", nodes=3, warmup=2.0, duration=1.0)


def test_a_good_play_is_good_and_has_the_hash_of_the_play() -> None:
    verdict, outcome = judged(QUIET, 3), run_scenario(QUIET, 3)
    assert outcome.is_good
    assert (verdict.is_good, verdict.digest, verdict.marks) == (True, outcome.digest, outcome.marks)
    assert verdict.seconds == outcome.seconds
    assert verdict.took > 0


def test_a_verdict_says_which_oracles_had_occasion_to_judge() -> None:
    judged_here = judged(QUIET, 3).judged
    assert list(judged_here) == [oracle.__name__ for oracle in ORACLES]
    assert judged_here["MonotonicBeliefs"]
    assert not judged_here["TombstoneRetention"]
    assert not judged_here["Restarts"]


def test_a_verdict_is_small_enough_to_send() -> None:
    assert len(pickle.dumps(judged(QUIET, 3))) < 4096


def test_a_cluster_that_does_not_agree_is_not_live() -> None:
    verdict = judged(scenario(Fault(kind="cut", nodes=("n3",)), quiet=0.0), 1)
    assert "liveness" in verdict.wrong


def test_a_run_that_does_not_show_what_it_is_for_is_vacuous() -> None:
    verdict = judged(scenario(duration=1.0, sometimes=("failed",)), 1)
    assert verdict.wrong == ("vacuous",)
    assert verdict.said == "the run did not show failed"


def test_an_exception_is_a_failure_named_by_where_it_was_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_scenario: Scenario, _seed: int, **_: object) -> NoReturn:
        raise AssertionError("two\nlines")

    monkeypatch.setattr(module, "run_scenario", broken)
    verdict = judged(QUIET, 3)
    assert verdict.wrong == ("AssertionError in test_verdict.py broken",)
    assert verdict.said.startswith("AssertionError: two")


def test_a_play_that_takes_too_long_is_a_failure() -> None:
    verdict = judged(QUIET, 3, patience=0.001)
    assert verdict.wrong == ("slow run",)
    assert verdict.said == "took more than 0.001 s of the processor"


def test_a_seed_gives_the_same_verdict_again() -> None:
    one, again = verdict_of(5, (3, 4)), verdict_of(5, (3, 4))
    assert (one.digest, one.wrong, one.marks) == (again.digest, again.wrong, again.marks)
    assert one.digest == judged(generated(5, (3, 4)).scenario, 5).digest
