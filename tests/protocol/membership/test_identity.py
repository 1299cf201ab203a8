"""How a node answers to what is said under its own name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.identity import RECLAIM_STEP_MS, Answer, Contest, Identity
from gossipreg.protocol.membership.rumor import Rumor
from tests.protocol.making import BORN, address, law, rumor, rumors


def identity(*, born: int = BORN, port: int = 7001, settled: bool = True) -> Identity:
    who = Identity(EngineSettings(), "b", born, address(port), "east")
    who.settled = settled
    return who


def test_it_says_what_it_is() -> None:
    who = identity()
    assert who.rumor() == rumor(zone="east")
    assert who.life == who.rumor().life
    who.drain()
    assert who.rumor() == rumor(zone="east", incarnation=1, draining=True)
    said = who.rumor()
    who.undrain()
    assert who.rumor() == rumor(zone="east", incarnation=2)
    assert who.rumor().supersedes(said)
    who.left = True
    assert who.rumor().status is Status.LEFT


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (rumor(), Answer.IGNORE),
        (rumor(status=Status.SUSPECT), Answer.REFUTE),
        (rumor(status=Status.FAILED), Answer.REFUTE),
        (rumor(incarnation=3), Answer.REFUTE),
        (rumor(generation=BORN - 1, status=Status.SUSPECT), Answer.IGNORE),
        (rumor(generation=BORN - 1, port=7999), Answer.IGNORE),
        (rumor(generation=BORN + 1), Answer.RECLAIM),
        (rumor(generation=BORN + 1, port=7999), Answer.CONTEST),
        (rumor(generation=BORN + 1, port=7999, status=Status.LEFT), Answer.RECLAIM),
        (rumor(generation=BORN, port=7999), Answer.CONTEST),
    ],
)
def test_a_settled_node_answers(said: Rumor, answer: Answer) -> None:
    assert identity().judge(said) is answer


def test_an_accusation_of_an_earlier_incarnation_is_answered_already() -> None:
    who = identity()
    who.incarnation = 2
    assert who.judge(rumor(status=Status.FAILED, incarnation=1)) is Answer.IGNORE


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (rumor(generation=BORN - 1, port=7999), Answer.CONTEST),
        (rumor(generation=BORN - 1, port=7999, status=Status.SUSPECT), Answer.CONTEST),
        (rumor(generation=BORN - 1, port=7999, status=Status.FAILED), Answer.IGNORE),
        (rumor(generation=BORN - 1), Answer.IGNORE),
    ],
)
def test_a_newcomer_asks_whoever_may_live_under_its_name(said: Rumor, answer: Answer) -> None:
    assert identity(settled=False).judge(said) is answer


@law
@given(rumors(st.just("b")))
def test_one_who_has_left_answers_nothing(said: Rumor) -> None:
    who = identity(born=2)
    who.left = True
    assert who.judge(said) is Answer.IGNORE


@law
@given(rumors(st.just("b")))
def test_what_it_says_after_its_answer_stands_against_what_was_said(said: Rumor) -> None:
    who = Identity(EngineSettings(), "b", 2, address(1), "")
    who.settled = True
    match who.judge(said):
        case Answer.REFUTE:
            who.refute(said)
            assert who.rumor().supersedes(said)
        case Answer.RECLAIM | Answer.CONTEST:
            who.reclaim(said.generation)
            assert who.rumor().supersedes(said)
            assert who.contested is None
        case Answer.IGNORE:
            assert not said.supersedes(who.rumor())


def test_a_reclaimed_name_is_a_new_life() -> None:
    who = identity()
    before = who.life
    who.incarnation = 4
    who.reclaim(BORN + 7)
    assert (who.generation, who.incarnation, who.born) == (BORN + 7 + RECLAIM_STEP_MS, 0, BORN)
    assert who.life == who.rumor().life != before


def test_a_contest_asks_three_times_and_then_gives_up() -> None:
    who = identity()
    assert who.deadline == float("inf")
    other = rumor(generation=BORN + 1, port=7999)
    who.open_contest(other, 10.0)
    assert who.contested == other
    tries = []
    while who.next_try(who.deadline):
        tries.append(who.deadline)
    assert tries == [10.5, 11.0, 11.5]


def test_the_same_contest_is_not_opened_twice_but_a_later_one_is() -> None:
    who = identity()
    other = rumor(generation=BORN + 1, port=7999)
    who.open_contest(other, 10.0)
    who.next_try(10.0)
    who.open_contest(other, 10.1)
    assert who.deadline == 10.5
    later = rumor(generation=BORN + 2, port=7999)
    who.open_contest(later, 10.2)
    assert (who.contested, who.deadline) == (later, 10.2)


@law
@given(st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans())
def test_of_two_namesakes_exactly_one_yields(born: int, other_born: int, settled: bool, other_settled: bool) -> None:
    one = identity(born=born, settled=settled)
    other = identity(born=other_born, port=7999, settled=other_settled)
    assert one.yields_to(other.contest()) != other.yields_to(one.contest())


def test_the_older_keeps_the_name_whatever_generations_were_taken_since() -> None:
    older, younger = identity(), identity(born=BORN + 1, port=7999)
    older.reclaim(BORN + 50)
    assert younger.yields_to(older.contest())
    assert not older.yields_to(younger.contest())


def test_one_who_is_announced_keeps_the_name_against_one_who_is_not() -> None:
    newcomer = identity(born=BORN - 1000, settled=False)
    assert newcomer.yields_to(Contest("b", 1, BORN, settled=True))


def test_a_contest_that_is_closed_is_due_no_more() -> None:
    who = identity()
    who.open_contest(rumor(generation=BORN + 1, port=7999), 10.0)
    who.close_contest()
    assert (who.contested, who.deadline) == (None, float("inf"))


def test_a_new_generation_ends_the_contest_for_the_old_one() -> None:
    who = identity()
    who.open_contest(rumor(generation=BORN + 1, port=7999), 10.0)
    who.reclaim(BORN + 1)
    assert (who.contested, who.deadline, who.incarnation) == (None, float("inf"), 0)


@pytest.mark.parametrize(("ours", "heard", "then"), [(0, 5, 6), (5, 0, 6), (5, 5, 6)])
def test_a_refutation_outbids_what_was_heard_and_what_was_said_before(ours: int, heard: int, then: int) -> None:
    who = identity()
    who.incarnation = ours
    who.refute(rumor(incarnation=heard))
    assert who.incarnation == then
