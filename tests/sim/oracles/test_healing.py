"""A cluster that does not come to agree in time is seen."""

from __future__ import annotations

from sim.oracles.healing import Healing
from tests.sim.oracles.watching import texts, watched


def test_agreement_in_time_is_well_and_too_late_or_never_is_seen() -> None:
    _made, healing = watched(Healing)
    healing.stage.healed_in = 1.0
    healing.finish()
    assert texts(healing) == []
    assert healing.note == "measured 1.00 s, bound 31.73 s"
    healing.stage.healed_in = 40.0
    healing.finish()
    healing.stage.healed_in = None
    healing.finish()
    assert texts(healing) == ["all agree only 40.00 s after the heal; bound 31.73 s", "not all agree; bound 31.73 s"]
