"""Healthy members stay in each other's lookups, and all are back soon after a heal; or the oracle sees it."""

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
    """Five nodes under these faults, which begin to count at once."""
    return watched(StayInLookups, *faults, nodes=5, warmup=0.0, duration=20.0, **parts)


def turn(made: Cluster, oracle: StayInLookups, observer: str, member: str, status: Status) -> None:
    """Let ``observer`` come to believe this of ``member``."""
    process = made.processes[observer]
    before = process.engine.members.get(member)
    assert before is not None
    after = attrs.evolve(before, status=status)
    oracle.see(process, MemberChanged(before, after))


def test_a_moment_is_well_and_a_healthy_member_that_is_out_for_longer_is_seen() -> None:
    made, stays = among(SLOW)
    turn(made, stays, "n0", "n1", Status.FAILED)
    run_for(made, 0.5)
    turn(made, stays, "n0", "n1", Status.ALIVE)
    assert texts(stays) == []
    turn(made, stays, "n0", "n1", Status.FAILED)
    run_for(made, 2.0)
    turn(made, stays, "n0", "n1", Status.ALIVE)
    assert texts(stays) == ["had n1, which nothing was wrong with, out for 2.0 s"]


def test_a_member_that_is_slow_itself_may_be_out_and_for_long() -> None:
    made, stays = among(SLOW)
    for pair in (("n0", "n4"), ("n4", "n0")):
        turn(made, stays, *pair, Status.FAILED)
    run_for(made, 5.0)
    for pair in (("n0", "n4"), ("n4", "n0")):
        turn(made, stays, *pair, Status.ALIVE)
    assert texts(stays) == []


@pytest.mark.parametrize("fault", [SPLIT, Fault(kind="output-rejected", nodes=("n3",), at=0.0, lasts=2.0)])
def test_after_a_split_and_after_a_rejection_that_ended_all_are_back_in_ten_seconds(fault: Fault) -> None:
    made, stays = among(fault)
    turn(made, stays, "n0", "n3", Status.FAILED)
    run_for(made, 11.5 - made.world.seconds)
    turn(made, stays, "n0", "n3", Status.ALIVE)
    turn(made, stays, "n3", "n0", Status.FAILED)
    run_for(made, 1.0)
    stays.finish()
    assert texts(stays) == ["does not have n0 back 10 s after the heal at 2.0 s"]


def test_a_heal_that_another_fault_follows_is_not_judged() -> None:
    made, stays = among(SPLIT, attrs.evolve(SPLIT, at=9.0))
    turn(made, stays, "n0", "n3", Status.FAILED)
    run_for(made, 11.0)
    stays.finish()
    assert texts(stays) == []


def test_a_member_that_is_merely_doubted_is_out_as_well() -> None:
    made, stays = among(SLOW)
    n0 = made.processes["n0"]
    accused = n0.engine.members.get("n1")
    assert accused is not None
    n0.engine.members.put(accused.graver(Status.SUSPECT), n0.now)
    n0.engine.state.deprioritize("n1")
    stays.after(n0)
    assert ("n0", "n1") in stays._out
    n0.engine.state.restore_priority("n1")
    stays.after(n0)
    assert ("n0", "n1") not in stays._out


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="loss", probability=0.1),
        Fault(kind="cut", nodes=("n4",), permanent=True),
        Fault(kind="cut", nodes=("n4",), to=("n3",)),
        Fault(kind="slow", seconds=0.1),
    ],
)
def test_where_more_goes_wrong_than_that_few_are_apart_it_says_nothing(fault: Fault) -> None:
    made, stays = among(fault)
    turn(made, stays, "n0", "n1", Status.FAILED)
    run_for(made, 5.0)
    stays.finish()
    assert stays.checks == 0
    assert stays.note == "not applicable here: not all that goes wrong keeps a minority apart, or makes it slow"


def test_of_a_cut_the_smaller_side_is_the_sick_one_however_it_is_written() -> None:
    _made, stays = among(Fault(kind="cut", nodes=("n0", "n1", "n2")))
    assert stays._sick is not None
    assert [sick.names for sick in stays._sick] == [("n3", "n4")]


def test_where_members_look_for_the_failed_more_seldom_the_law_promises_nothing() -> None:
    _, stays = among(SPLIT, settings=EngineSettings(reconnect_interval=5.1))
    assert stays._sick is None
    _, stays = among(SPLIT, settings=EngineSettings(reconnect_interval=4.9))
    assert stays._sick is not None
