"""How a node reacts to updates under its own name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.identity import RECLAIM_STEP_MS, Identity, NameConflictQuery, Reaction
from gossipreg.protocol.membership.member_update import MemberUpdate
from tests.protocol.making import BORN, address, law, update, updates


def identity(*, born: int = BORN, port: int = 7001, announced: bool = True) -> Identity:
    own = Identity(EngineSettings(), "b", born, address(port), "east")
    own.announced = announced
    return own


def test_it_says_what_it_is() -> None:
    own = identity()
    assert own.own_update() == update(zone="east")
    assert own.run_id == own.own_update().run_id
    own.drain()
    assert own.own_update() == update(zone="east", incarnation=1, draining=True)
    said = own.own_update()
    own.undrain()
    assert own.own_update() == update(zone="east", incarnation=2)
    assert own.own_update().supersedes(said)
    own.left = True
    assert own.own_update().status is Status.LEFT


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (update(), Reaction.IGNORE),
        (update(status=Status.SUSPECT), Reaction.REFUTE),
        (update(status=Status.FAILED), Reaction.REFUTE),
        (update(incarnation=3), Reaction.REFUTE),
        (update(generation=BORN - 1, status=Status.SUSPECT), Reaction.IGNORE),
        (update(generation=BORN - 1, port=7999), Reaction.IGNORE),
        (update(generation=BORN + 1), Reaction.RECLAIM),
        (update(generation=BORN + 1, port=7999), Reaction.NAME_CONFLICT),
        (update(generation=BORN + 1, port=7999, status=Status.LEFT), Reaction.RECLAIM),
        (update(generation=BORN, port=7999), Reaction.NAME_CONFLICT),
    ],
)
def test_a_settled_node_answers(said: MemberUpdate, answer: Reaction) -> None:
    assert identity().reaction_to(said) is answer


def test_an_accusation_of_an_earlier_incarnation_is_answered_already() -> None:
    own = identity()
    own.incarnation = 2
    assert own.reaction_to(update(status=Status.FAILED, incarnation=1)) is Reaction.IGNORE


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (update(generation=BORN - 1, port=7999), Reaction.NAME_CONFLICT),
        (update(generation=BORN - 1, port=7999, status=Status.SUSPECT), Reaction.NAME_CONFLICT),
        (update(generation=BORN - 1, port=7999, status=Status.FAILED), Reaction.IGNORE),
        (update(generation=BORN - 1), Reaction.IGNORE),
    ],
)
def test_a_newcomer_queries_the_member_that_may_hold_its_name(said: MemberUpdate, answer: Reaction) -> None:
    assert identity(announced=False).reaction_to(said) is answer


@law
@given(updates(st.just("b")))
def test_a_node_that_has_left_answers_nothing(said: MemberUpdate) -> None:
    own = identity(born=2)
    own.left = True
    assert own.reaction_to(said) is Reaction.IGNORE


@law
@given(updates(st.just("b")))
def test_what_it_says_after_its_answer_stands_against_what_was_said(said: MemberUpdate) -> None:
    own = Identity(EngineSettings(), "b", 2, address(1), "")
    own.announced = True
    match own.reaction_to(said):
        case Reaction.REFUTE:
            own.refute(said)
            assert own.own_update().supersedes(said)
        case Reaction.RECLAIM | Reaction.NAME_CONFLICT:
            own.reclaim(said.generation)
            assert own.own_update().supersedes(said)
            assert own.rival is None
        case Reaction.IGNORE:
            assert not said.supersedes(own.own_update())


def test_a_reclaimed_name_is_a_new_run() -> None:
    own = identity()
    before = own.run_id
    own.incarnation = 4
    own.reclaim(BORN + 7)
    assert (own.generation, own.incarnation, own.born) == (BORN + 7 + RECLAIM_STEP_MS, 0, BORN)
    assert own.run_id == own.own_update().run_id != before


def test_a_name_conflict_asks_three_times_and_then_gives_up() -> None:
    own = identity()
    assert own.deadline == float("inf")
    other = update(generation=BORN + 1, port=7999)
    own.query_rival(other, 10.0)
    assert own.rival == other
    tries = []
    while own.next_try(own.deadline):
        tries.append(own.deadline)
    assert tries == [10.5, 11.0, 11.5]


def test_the_same_name_conflict_is_not_opened_twice_but_a_later_one_is() -> None:
    own = identity()
    other = update(generation=BORN + 1, port=7999)
    own.query_rival(other, 10.0)
    own.next_try(10.0)
    own.query_rival(other, 10.1)
    assert own.deadline == 10.5
    later = update(generation=BORN + 2, port=7999)
    own.query_rival(later, 10.2)
    assert (own.rival, own.deadline) == (later, 10.2)


@law
@given(st.integers(1, 3), st.integers(1, 3), st.booleans(), st.booleans())
def test_of_two_namesakes_exactly_one_yields(
    born: int, other_born: int, announced: bool, other_announced: bool
) -> None:
    one = identity(born=born, announced=announced)
    other = identity(born=other_born, port=7999, announced=other_announced)
    assert one.yields_to(other.query()) != other.yields_to(one.query())


def test_the_older_keeps_the_name_whatever_generations_were_taken_since() -> None:
    older, younger = identity(), identity(born=BORN + 1, port=7999)
    older.reclaim(BORN + 50)
    assert younger.yields_to(older.query())
    assert not older.yields_to(younger.query())


def test_an_announced_node_keeps_its_name_against_one_that_is_not() -> None:
    newcomer = identity(born=BORN - 1000, announced=False)
    assert newcomer.yields_to(NameConflictQuery("b", 1, BORN, announced=True))


def test_a_name_conflict_that_is_closed_is_due_no_more() -> None:
    own = identity()
    own.query_rival(update(generation=BORN + 1, port=7999), 10.0)
    own.close_query()
    assert (own.rival, own.deadline) == (None, float("inf"))


def test_a_new_generation_ends_the_name_conflict_for_the_old_one() -> None:
    own = identity()
    own.query_rival(update(generation=BORN + 1, port=7999), 10.0)
    own.reclaim(BORN + 1)
    assert (own.rival, own.deadline, own.incarnation) == (None, float("inf"), 0)


@pytest.mark.parametrize(("ours", "heard", "then"), [(0, 5, 6), (5, 0, 6), (5, 5, 6)])
def test_a_refutation_outbids_what_was_heard_and_what_was_said_before(ours: int, heard: int, then: int) -> None:
    own = identity()
    own.incarnation = ours
    own.refute(update(incarnation=heard))
    assert own.incarnation == then
