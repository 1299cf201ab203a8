"""A run has a time limit."""

from __future__ import annotations

import time

import pytest

from gossipreg_sim.fuzz.patience import Patience, TookTooLong
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario import Scenario

BRIEF = Scenario(name="brief", title="Brief", nodes=3, warmup=2.0, duration=1.0)


def test_a_run_over_its_time_limit_is_stopped() -> None:
    with pytest.raises(TookTooLong):
        run_scenario(BRIEF, 1, attach=Patience(0.0).attach)


def test_only_cpu_time_counts() -> None:
    assert Patience(1.0).clock is time.thread_time


def test_a_run_is_stopped_as_soon_as_its_clock_reaches_the_limit() -> None:
    shown = iter([100.0, 100.0, 102.5])
    with pytest.raises(TookTooLong):
        run_scenario(BRIEF, 1, attach=Patience(2.0, clock=lambda: next(shown)).attach)
    assert list(shown) == []


def test_a_run_within_its_limit_is_unchanged() -> None:
    assert run_scenario(BRIEF, 1, attach=Patience(60.0).attach).digest == run_scenario(BRIEF, 1).digest
