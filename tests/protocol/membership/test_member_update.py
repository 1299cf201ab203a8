"""Which of two updates about a member supersedes the other, and that all orders of arrival converge."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Address, Member, Status
from gossipreg.protocol.membership.member_update import MemberUpdate, run_id_of
from tests.protocol.making import BORN, address, law, update, updates


def merge(one: MemberUpdate, other: MemberUpdate) -> MemberUpdate:
    return other if other.supersedes(one) else one


@law
@given(updates(), updates())
def test_merging_is_commutative(one: MemberUpdate, other: MemberUpdate) -> None:
    assert merge(one, other) == merge(other, one)


@law
@given(updates(), updates(), updates())
def test_merging_is_associative(one: MemberUpdate, two: MemberUpdate, three: MemberUpdate) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))


@law
@given(updates())
def test_merging_is_idempotent(one: MemberUpdate) -> None:
    assert merge(one, one) is one


@law
@given(heard=st.lists(updates(), min_size=1), data=st.data())
def test_arrival_order_and_duplicates_do_not_matter(heard: list[MemberUpdate], data: st.DataObject) -> None:
    again = data.draw(st.permutations(heard + heard[:3]))
    assert reduce(merge, again) == reduce(merge, heard)


@law
@given(updates(), updates())
def test_claims_have_equal_digests_exactly_when_neither_is_news_to_the_other(
    one: MemberUpdate, other: MemberUpdate
) -> None:
    assert (one.digest == other.digest) == (not one.supersedes(other) and not other.supersedes(one))


@law
@given(updates(), st.integers(), st.integers(0))
def test_who_says_it_and_how_long_ago_makes_no_other_claim(one: MemberUpdate, accuser: int, age: int) -> None:
    other = attrs.evolve(one, accuser=accuser, age=age)
    assert one == other
    assert one.digest == other.digest
    assert not one.supersedes(other)


def test_a_later_run_is_believed_whatever_was_said_of_the_earlier() -> None:
    gone = update(status=Status.LEFT, incarnation=9)
    assert update(generation=BORN + 1).supersedes(gone)
    assert not gone.supersedes(update(generation=BORN + 1))


def test_a_member_refutes_any_accusation_by_a_higher_incarnation() -> None:
    assert update(incarnation=1).supersedes(update(status=Status.FAILED))


def test_the_graver_claim_wins_within_an_incarnation() -> None:
    claims = [update(status=status) for status in (Status.ALIVE, Status.SUSPECT, Status.FAILED, Status.LEFT)]
    assert all(graver.supersedes(milder) for milder, graver in pairwise(claims))


def test_others_may_only_make_a_claim_graver() -> None:
    accused = update(age=3).graver(Status.SUSPECT, 7)
    assert (accused.status, accused.accuser, accused.age) == (Status.SUSPECT, 7, 0)
    with pytest.raises(AssertionError, match="milder"):
        accused.graver(Status.ALIVE)


def test_updates_about_different_members_are_not_compared() -> None:
    with pytest.raises(AssertionError, match="different members"):
        update("b").supersedes(update("c"))


def test_a_run_is_a_name_a_generation_and_an_address() -> None:
    run_ids = {update().run_id, update("c").run_id, update(generation=BORN + 1).run_id, update(port=7999).run_id}
    assert len(run_ids) == 4
    assert update(status=Status.FAILED, incarnation=3).run_id == update().run_id == run_id_of("b", BORN, address(7001))
    assert update().is_same_run(update(status=Status.FAILED))
    assert not update().is_same_run(update(generation=BORN + 1))


def test_users_see_a_member() -> None:
    claim = update(status=Status.SUSPECT, incarnation=2, zone="east", draining=True)
    assert claim.as_member() == Member("b", address(7001), Status.SUSPECT, BORN, 2, "east", draining=True)


def test_the_id_of_a_run_is_part_of_the_protocol() -> None:
    assert run_id_of("a", 1_767_225_600_000, Address("10.0.0.1", 7940)) == 1_215_287_308_844_748_427


def test_a_member_is_forgotten_if_another_says_that_it_left() -> None:
    assert update(status=Status.LEFT, accuser=7).is_forgotten
    assert not update(status=Status.LEFT).is_forgotten
    assert not update(status=Status.FAILED, accuser=7).is_forgotten
