"""When a second request is sent beside a slow one, and how often at most."""

from __future__ import annotations

import pytest

from gossipreg.embed.hedging import BURST_MAX, TIMES_MAX, TIMES_MIN, HedgeBudget, Hedging
from gossipreg.errors import ConfigError


def test_a_fixed_delay_is_the_same_for_every_service() -> None:
    assert HedgeBudget(Hedging(after=0.2)).begin("orders") == 0.2


def test_without_one_it_is_the_95th_percentile_of_the_services_own_answers_once_there_are_enough() -> None:
    budget = HedgeBudget(Hedging())
    for each in range(1, TIMES_MIN):
        budget.observe("orders", each / 1000)
        assert budget.begin("orders") is None
    budget.observe("orders", 9.0)
    assert budget.begin("orders") == (TIMES_MIN - 1) / 1000
    assert budget.begin("shop") is None


def test_old_answers_are_forgotten() -> None:
    budget = HedgeBudget(Hedging())
    for seconds in [9.0] * TIMES_MAX + [0.1] * TIMES_MAX:
        budget.observe("orders", seconds)
    assert budget.begin("orders") == 0.1


@pytest.mark.parametrize(("hedging", "most"), [(Hedging(after=0.0), 50), (Hedging(after=0.0, share=0.1), 100)], ids=str)
def test_no_more_than_the_share_of_the_calls_is_sent_twice(hedging: Hedging, most: int) -> None:
    # The budget counts calls and has no clock: however slow the answers are, the share is the same.
    budget, sent = HedgeBudget(hedging), 0
    for _ in range(1000):
        budget.begin("orders")
        sent += budget.spend()
    assert most <= sent <= most + 1


def test_what_was_not_used_is_saved_up_to_a_burst() -> None:
    budget = HedgeBudget(Hedging(after=0.0, share=0.1))
    for _ in range(1000):
        budget.begin("orders")
    assert sum(budget.spend() for _ in range(1000)) == BURST_MAX


@pytest.mark.parametrize("wrong", [{"after": -1.0}, {"after": float("inf")}, {"share": 0.0}, {"share": 1.5}])
def test_senseless_values_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Hedging(**wrong)
