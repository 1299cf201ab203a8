"""Healing is measured from the end of each fault, not only from the heal."""

from __future__ import annotations

import math

import attrs
import pytest

from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg_sim.fault import Fault
from gossipreg_sim.healing import Heal, Moment, moments
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario import Workload
from tests.sim.making import scenario

#: A split long enough for failures, in a cluster that detects quickly and reconnects rarely.
SPLIT = scenario(
    Fault(kind="cut", nodes=("n0", "n1"), at=0.0, lasts=8.0),
    duration=40.0,
    settings=EngineSettings(
        suspicion_alpha=1.0, suspicion_beta=3.0, local_health_max=1, reconnect_interval=12.0, stream_patience=2.0
    ),
)


def spans(*faults: Fault) -> list[Moment]:
    return list(moments(scenario(*faults, duration=40.0)))


def test_the_end_of_a_fault_is_a_moment_unless_it_is_the_heal() -> None:
    assert spans(Fault(kind="cut", at=2, lasts=5)) == [Moment(7.0, math.inf, ("cut-1",))]
    assert spans(Fault(kind="cut", at=2)) == spans(Fault(kind="cut", at=2, lasts=99)) == spans() == []


def test_faults_that_overlap_end_together() -> None:
    one, other = Fault(kind="cut", at=2, lasts=20), Fault(kind="loss", at=5, lasts=2, probability=0.1)
    assert spans(one, other) == [Moment(22.0, math.inf, ("cut-1", "loss-1"))]
    assert spans(other, attrs.evolve(one, at=7)) == [Moment(27.0, math.inf, ("loss-1", "cut-1"))]


def test_the_next_fault_ends_the_measurement() -> None:
    assert spans(Fault(kind="cut", at=2, lasts=5), Fault(kind="leave", nodes="n3", at=12, lasts=3)) == [
        Moment(7.0, 12.0, ("cut-1",)),
        Moment(15.0, math.inf, ("leave-1",)),
    ]


def test_a_permanent_fault_has_no_moment_but_ends_a_measurement() -> None:
    assert spans(Fault(kind="cut", at=2, lasts=5), Fault(kind="crash", nodes="n3", at=12)) == [
        Moment(7.0, 12.0, ("cut-1",))
    ]
    assert spans(Fault(kind="crash", nodes="n3", at=1), Fault(kind="cut", at=2, lasts=5)) == [
        Moment(7.0, math.inf, ("cut-1",))
    ]


@pytest.mark.parametrize(
    ("fault", "ends"),
    [
        (Fault(kind="restart", at=1, every=2, seconds=3), 10.0),
        (Fault(kind="restart", at=1, seconds=3), 4.0),
        (Fault(kind="churn", at=1, lasts=8, every=2, seconds=3), 12.0),
        (Fault(kind="swizzle", at=1, lasts=8, every=2), 11.0),
        (Fault(kind="crash", nodes="n3", at=1, lasts=8), 9.0),
    ],
    ids=lambda value: value.kind if isinstance(value, Fault) else "",
)
def test_a_fault_ends_with_its_last_effect(fault: Fault, ends: float) -> None:
    assert [moment.at for moment in spans(fault)] == [ends]


@pytest.mark.slow
def test_the_recovery_from_a_split_is_measured_from_its_end() -> None:
    outcome = run_scenario(SPLIT, 1)
    [split, heal] = outcome.heals
    assert outcome.is_good
    assert (split.ended, split.at, heal.at, heal.took) == (("cut-1",), 8.0, 40.0, 0.0)
    assert split.took is not None
    assert outcome.healed_in == split.took > 1.0
    back = max(step.at for step in outcome.trace.steps if step.what == "alive") / 1e9
    assert -0.06 <= split.took - (back - SPLIT.warmup - 8.0) < 1.0, "not before all nodes were alive for all"


@pytest.mark.slow
def test_concurrent_user_changes_do_not_prolong_the_measured_recovery() -> None:
    busy = attrs.evolve(
        SPLIT, workload=Workload(churn=20.0), faults=(Fault(kind="duplicate", probability=0.1, lasts=8),)
    )
    assert run_scenario(busy, 1).heals[0].took == 0.0


def test_a_recovery_interrupted_by_the_next_fault_does_not_count() -> None:
    again = attrs.evolve(SPLIT, faults=(*SPLIT.faults, Fault(kind="cut", nodes=("n0", "n1"), at=8.2, lasts=3.0)))
    outcome = run_scenario(again, 1)
    assert [(heal.ended, heal.took is None) for heal in outcome.heals] == [
        (("cut-1",), True),
        (("cut-2",), False),
        ((), False),
    ]
    assert outcome.healed_in == outcome.heals[1].took
    assert not outcome.late


def test_a_recovery_that_is_incomplete_at_the_heal_is_still_measured() -> None:
    late = attrs.evolve(SPLIT, duration=9.0)
    split, heal = run_scenario(late, 1).heals
    assert split.took is not None
    assert heal.took is not None
    assert split.took == pytest.approx(1.0 + heal.took)


def test_a_heal_is_in_time_within_its_bound_or_if_interrupted_before_it() -> None:
    assert Heal(1.0, (), took=3.0, bound=3.0).in_time
    assert not Heal(1.0, (), took=3.1, bound=3.0).in_time
    assert not Heal(1.0, (), took=None, bound=3.0).in_time
    assert Heal(1.0, (), took=None, bound=3.0, until=4.0).in_time
    assert not Heal(1.0, (), took=None, bound=3.0, until=4.5).in_time
