"""Every scenario that comes with the simulator holds, and shows what it is for."""

from __future__ import annotations

import pytest

from sim.play import play
from sim.scenario import load, shipped


@pytest.mark.parametrize("name", shipped())
def test_the_shipped_scenario_is_good(name: str) -> None:
    outcome = play(load(name), 0)
    assert outcome.violations == ()
    assert outcome.missing == ()
    assert outcome.healed_in is not None
    assert outcome.healed_in <= outcome.bound
