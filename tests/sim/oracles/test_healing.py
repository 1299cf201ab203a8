"""A cluster that does not agree in time is reported."""

from __future__ import annotations

from gossipreg_sim.healing import Heal
from gossipreg_sim.oracles.healing import Healing
from tests.sim.oracles.watching import texts, watched


def test_late_or_missing_agreement_is_reported() -> None:
    _made, healing = watched(Healing)
    healing.context.healed_in = 1.0
    healing.finish()
    assert texts(healing) == []
    assert healing.note == "measured 1.00 s, bound 31.73 s"
    healing.context.healed_in = 40.0
    healing.finish()
    healing.context.healed_in = None
    healing.finish()
    assert texts(healing) == ["all agree only 40.00 s after the heal; bound 31.73 s", "not all agree; bound 31.73 s"]


def test_a_late_heal_in_the_middle_is_reported_even_if_the_end_is_good() -> None:
    _made, healing = watched(Healing)
    healing.context.healed_in = 0.0
    healing.context.heals = (
        Heal(at=2.0, ended=("cut-1",), took=20.0, bound=30.0),
        Heal(at=40.0, ended=("cut-2", "loss-1"), took=35.0, bound=30.0),
        Heal(at=90.0, ended=("cut-3",), took=None, bound=30.0, until=100.0),
        Heal(at=110.0, ended=("cut-4",), took=None, bound=30.0, until=150.0),
        Heal(at=160.0, ended=(), took=0.0, bound=30.0),
    )
    healing.finish()
    assert texts(healing) == [
        "all agree only 35.00 s after cut-2, loss-1; bound 30.00 s",
        "not all agree after cut-4; bound 30.00 s",
    ]
