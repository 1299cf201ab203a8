"""Every shipped scenario is good: all oracles hold, and it reaches its marks.

One seed each here; more with `pytest tests/sim/test_scenarios.py --gossipreg-seeds 5`.
"""

from __future__ import annotations

import pytest

from gossipreg_sim.pytest_plugin import ScenarioRunner
from gossipreg_sim.scenario_file import shipped


@pytest.mark.gossipreg_sim(seeds=1)
@pytest.mark.parametrize("name", shipped())
def test_the_shipped_scenario_is_good(name: str, gossipreg_sim: ScenarioRunner) -> None:
    gossipreg_sim(name)
