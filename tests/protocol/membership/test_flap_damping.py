"""A member that is failed repeatedly by its own fault rejoins later and later; an excused one does not."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.flap_damping import FlapDamping
from gossipreg.protocol.membership.member_update import MemberUpdate
from tests.protocol.making import update

FAILED = update("a").graver(Status.FAILED)


def failed(incarnation: int) -> MemberUpdate:
    return attrs.evolve(FAILED, incarnation=incarnation)


def damping(**settings: float) -> FlapDamping:
    return FlapDamping(EngineSettings(**settings))  # type: ignore[arg-type]


def test_the_first_return_is_at_once_and_each_further_one_takes_twice_as_long_up_to_a_limit() -> None:
    one = damping()
    now = 0.0
    waits = []
    for number in range(6):
        if one.admit_refutation(failed(number), now, own_fault=True):
            waits.append(0.0)
        else:
            waits.append(one.suppress_until - now)
            now = one.suppress_until
            assert one.release(now) == failed(number)
        now += 1.0
    assert waits == [0.0, 30.0, 60.0, 120.0, 120.0, 120.0]


def test_what_was_long_ago_does_not_count() -> None:
    one = damping()
    assert one.admit_refutation(FAILED, 0.0, own_fault=True)
    assert one.wait(599.0) == 30.0
    assert one.wait(600.0) == 0.0
    assert one.admit_refutation(failed(1), 600.0, own_fault=True)
    assert one.wait(601.0) == 30.0


def test_returns_within_the_memory_all_count() -> None:
    one = damping()
    one.note_return(failed(1), 100.0)
    one.note_return(failed(2), 500.0)
    one.note_return(failed(3), 690.0)
    assert one.wait(691.0) == 120.0, "the third within ten minutes"


def test_one_failure_counts_once_and_one_that_was_outbid_unheard_counts_too() -> None:
    one = damping()
    one.note_return(failed(3), 1.0)
    one.note_return(failed(3), 2.0)
    one.note_return(failed(2), 3.0)
    assert one.wait(4.0) == 30.0
    one.note_return(attrs.evolve(failed(0), generation=FAILED.generation + 1), 5.0)
    assert one.wait(6.0) == 60.0


def test_what_was_no_fault_of_its_own_is_answered_at_once_and_does_not_count() -> None:
    one = damping()
    assert all(one.admit_refutation(failed(now), float(now), own_fault=False) for now in range(5))
    assert one.wait(5.0) == 0.0


def test_while_it_waits_the_gravest_failure_is_what_it_will_answer() -> None:
    one = damping()
    one.admit_refutation(FAILED, 0.0, own_fault=True)
    assert not one.admit_refutation(FAILED, 1.0, own_fault=True)
    graver = failed(5)
    assert not one.admit_refutation(graver, 2.0, own_fault=False)
    assert not one.admit_refutation(FAILED, 3.0, own_fault=False)
    assert one.suppress_until == pytest.approx(31.0)
    assert one.release(31.0) == graver


SUSPECTED = update("a").graver(Status.SUSPECT)


def test_a_suspicion_is_answered_at_once_but_not_by_one_that_waits() -> None:
    one = damping()
    assert all(one.admit_refutation(SUSPECTED, float(now), own_fault=True) for now in range(5)), "and it is no return"
    assert one.admit_refutation(FAILED, 5.0, own_fault=True)
    assert not one.admit_refutation(failed(1), 6.0, own_fault=True)
    assert not one.admit_refutation(SUSPECTED, 7.0, own_fault=False)
    assert one.release(36.0) == failed(1)


def test_one_that_has_returned_waits_with_its_answer_to_a_suspicion_that_is_its_own_fault_too() -> None:
    one = damping()
    assert one.admit_refutation(SUSPECTED, 0.0, own_fault=True)
    one.note_return(FAILED, 1.0)  # that it had failed it heard later
    again = attrs.evolve(SUSPECTED, incarnation=1)
    assert one.admit_refutation(again, 2.0, own_fault=False), "a suspicion that is no fault of its own is answered"
    assert not one.admit_refutation(again, 3.0, own_fault=True)
    assert not one.admit_refutation(failed(1), 4.0, own_fault=True)
    assert one.suppress_until == 33.0
    assert one.release(33.0) == failed(1)
    assert one.wait(33.0) == 60.0


def test_it_can_be_switched_off() -> None:
    one = damping(damping_base=0.0)
    assert all(one.admit_refutation(FAILED, float(now), own_fault=True) for now in range(5))
