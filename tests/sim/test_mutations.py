"""The simulator catches mistakes: each mutation is caught within its seeds, and without it the same runs are good."""

from __future__ import annotations

from functools import cache

import pytest

from gossipreg.errors import ClockWrong
from gossipreg_sim.oracles.oracle import Oracle
from gossipreg_sim.runner import ORACLES, Outcome, run_scenario
from gossipreg_sim.scenario import Scenario
from tests.sim.mutations import MUTATIONS, Mutation

pytestmark = pytest.mark.slow

#: The scenarios that reveal the mutations.
SCENARIOS = list(dict.fromkeys(mutation.shown_by for mutation in MUTATIONS))


class Caught(BaseException):
    """The oracle that is to catch the mutation has reported a violation: the rest of the run says no more."""


def is_caught(mutation: Mutation, seed: int) -> bool:
    """Whether one of the oracles of ``mutation`` reports a violation; "raised" is an exception of the protocol."""
    original = Oracle.wrong

    def reported(oracle: Oracle, *args: str, **named: str) -> None:
        original(oracle, *args, **named)
        if type(oracle).__name__ in mutation.caught_by:
            raise Caught

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Oracle, "wrong", reported)
        try:
            run_scenario(mutation.shown_by, seed)
        except Caught:
            return True
        except (AssertionError, KeyError, ClockWrong):
            return "raised" in mutation.caught_by
    return False


@cache
def run_unmutated(scenario: Scenario, seed: int) -> Outcome:
    """Run the unmodified code."""
    return run_scenario(scenario, seed)


def test_every_checking_oracle_catches_some_mutation() -> None:
    found = {oracle for mutation in MUTATIONS for oracle in mutation.caught_by}
    assert [oracle.__name__ for oracle in ORACLES if oracle.__name__ not in found] == ["DetectionQuality"], (
        "it only reports metrics"
    )


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_without_a_mutation_each_scenario_is_good(scenario: Scenario) -> None:
    outcome = run_unmutated(scenario, 0)
    assert outcome.is_good, (outcome.violations, outcome.late, outcome.missing)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_mutation_is_caught(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        mutation.plant(patch)
        seed = next((seed for seed in mutation.tries if is_caught(mutation, seed)), None)
    assert seed is not None, "no run reveals it"
    outcome = run_unmutated(mutation.shown_by, seed)
    assert outcome.is_good, ("the run is bad without the mutation", seed, outcome.violations, outcome.late)
