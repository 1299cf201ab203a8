"""Every shipped scenario is good: all oracles hold, and it reaches its marks.

One seed each here; more with `pytest tests/sim/test_scenarios.py --gossipreg-seeds 5`.
"""

from __future__ import annotations

from typing import Final

import pytest

from gossipreg_sim.pytest_plugin import ScenarioRunner
from gossipreg_sim.scenario_file import shipped

#: Slow scenarios, which compute for more than a second, each with a shorter one that has faults of the same kind.
LONG: Final = {
    "cells-lose-members": "cells-border-cut",
    "few-cut-off": "split-brain",
    "lifeguard-interval": "slow-node",
    "lifeguard-threshold": "slow-node",
    "long-split-forgotten": "long-split",
    "lossy-80": "lossy-30",
    "slow-host": "slow-node",
    "stolen-issuer": "impostor",
}


@pytest.mark.gossipreg_sim(seeds=1)
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LONG else ()) for n in shipped()])
def test_the_shipped_scenario_is_good(name: str, gossipreg_sim: ScenarioRunner) -> None:
    gossipreg_sim(name)


def test_each_long_scenario_has_a_shorter_one_that_is_run_by_default() -> None:
    assert set(LONG) <= set(shipped())
    assert set(LONG.values()) <= set(shipped()) - set(LONG)
