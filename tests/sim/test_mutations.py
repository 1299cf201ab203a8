"""The simulator finds mistakes: each one planted shows within its seeds, and without it the same plays are good."""

from __future__ import annotations

import pytest

from sim.play import play
from sim.scenario import Scenario
from tests.sim.mutations import MUTATIONS, Mutation

#: The most seeds that any mutation is given.
SEEDS = max(mutation.seeds for mutation in MUTATIONS)

#: The plays that show them.
PLAYS = list(dict.fromkeys(mutation.shown_by for mutation in MUTATIONS))


def found_by(scenario: Scenario, seed: int) -> set[str]:
    """The oracles that saw something wrong; "raised" if an assertion of the protocol did."""
    try:
        return {violation.oracle for violation in play(scenario, seed).violations}
    except (AssertionError, KeyError):
        return {"raised"}


@pytest.mark.parametrize("scenario", PLAYS, ids=lambda scenario: scenario.name)
def test_without_a_mistake_each_of_these_plays_is_good(scenario: Scenario) -> None:
    for seed in range(SEEDS):
        outcome = play(scenario, seed)
        assert outcome.is_good, (seed, outcome.violations, outcome.missing)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_mistake_is_found(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.plant(monkeypatch)
    assert any(found_by(mutation.shown_by, seed) & set(mutation.caught_by) for seed in range(mutation.seeds))
