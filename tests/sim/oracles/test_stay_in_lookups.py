"""Healthy members stay in each other's lookups, and all are back soon after a heal; otherwise it is reported."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.outputs import MemberChanged
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.fault import Fault
from gossipreg_sim.oracles.stay_in_lookups import StayInLookups
from tests.sim.making import run_for
from tests.sim.oracles.watching import texts, watched

SLOW = Fault(kind="slow", nodes=("n4",), seconds=0.1, at=0.0, lasts=2.0)
SPLIT = Fault(kind="cut", nodes=("n3", "n4"), at=0.0, lasts=2.0)


def among(*faults: Fault, **parts: Any) -> tuple[Cluster, StayInLookups]:
    """Five nodes with these faults, which count from the start."""
    return watched(StayInLookups, *faults, nodes=5, warmup=0.0, duration=20.0, **parts)


def turn(made: Cluster, oracle: StayInLookups, observer: str, member: str, status: Status) -> None:
    """Make ``observer`` believe that ``member`` has ``status``."""
    process = made.processes[observer]
    before = process.engine.members.get(member)
    assert before is not None
    after = attrs.evolve(before, status=status)
    oracle.see(process, MemberChanged(before, after))


def test_a_healthy_member_missing_for_more_than_a_moment_is_reported() -> None:
    made, stays = among(SLOW)
    turn(made, stays, "n0", "n1", Status.FAILED)
    run_for(made, 0.5)
    turn(made, stays, "n0", "n1", Status.ALIVE)
    assert texts(stays) == []
    turn(made, stays, "n0", "n1", Status.FAILED)
    run_for(made, 2.0)
    turn(made, stays, "n0", "n1", Status.ALIVE)
    assert texts(stays) == ["missed the healthy member n1 for 2.0 s"]


def test_a_slow_member_may_be_missing_for_long() -> None:
    made, stays = among(SLOW)
    for pair in (("n0", "n4"), ("n4", "n0")):
        turn(made, stays, *pair, Status.FAILED)
    run_for(made, 5.0)
    for pair in (("n0", "n4"), ("n4", "n0")):
        turn(made, stays, *pair, Status.ALIVE)
    assert texts(stays) == []


@pytest.mark.parametrize("fault", [SPLIT, Fault(kind="output-rejected", nodes=("n3",), at=0.0, lasts=2.0)])
def test_a_member_not_back_ten_seconds_after_a_heal_is_reported(fault: Fault) -> None:
    made, stays = among(fault)
    turn(made, stays, "n0", "n3", Status.FAILED)
    run_for(made, 11.5 - made.world.seconds)
    turn(made, stays, "n0", "n3", Status.ALIVE)
    turn(made, stays, "n3", "n0", Status.FAILED)
    run_for(made, 1.0)
    stays.finish()
    assert texts(stays) == ["still misses n0 10 s after the heal at 2.0 s"]


def test_a_heal_followed_by_another_fault_does_not_count() -> None:
    made, stays = among(SPLIT, attrs.evolve(SPLIT, at=9.0))
    turn(made, stays, "n0", "n3", Status.FAILED)
    run_for(made, 11.0)
    stays.finish()
    assert texts(stays) == []


def test_a_deprioritized_member_counts_as_missing() -> None:
    made, stays = among(SLOW)
    n0 = made.processes["n0"]
    accused = n0.engine.members.get("n1")
    assert accused is not None
    n0.engine.members.put(accused.graver(Status.SUSPECT), n0.now)
    n0.engine.state.deprioritize("n1")
    stays.after(n0)
    assert ("n0", "n1") in stays._missing
    n0.engine.state.restore_priority("n1")
    stays.after(n0)
    assert ("n0", "n1") not in stays._missing


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="loss", probability=0.1),
        Fault(kind="cut", nodes=("n4",), permanent=True),
        Fault(kind="cut", nodes=("n4",), to=("n3",)),
        Fault(kind="slow", seconds=0.1),
    ],
)
def test_with_faults_of_more_than_a_minority_the_oracle_does_not_apply(fault: Fault) -> None:
    made, stays = among(fault)
    turn(made, stays, "n0", "n1", Status.FAILED)
    run_for(made, 5.0)
    stays.finish()
    assert stays.checks == 0
    assert stays.note == "not applicable here: not all faults separate or slow down a minority"


def test_the_minority_of_a_cut_is_its_smaller_side() -> None:
    _made, stays = among(Fault(kind="cut", nodes=("n0", "n1", "n2")))
    assert stays._minorities is not None
    assert [minority.names for minority in stays._minorities] == [("n3", "n4")]


def test_with_rarer_reconnects_the_oracle_does_not_apply() -> None:
    _, stays = among(SPLIT, settings=EngineSettings(reconnect_interval=5.1))
    assert stays._minorities is None
    _, stays = among(SPLIT, settings=EngineSettings(reconnect_interval=4.9))
    assert stays._minorities is not None
