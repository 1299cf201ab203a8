"""Two states are compared and repaired at a cost in proportion to their difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS, Entry, Fingerprint
from gossipreg.protocol.anti_entropy.reconcile import (
    Compare,
    Listing,
    Want,
    answer_compare,
    answer_listing,
    answer_want,
)
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.records import TableDigest
from gossipreg.protocol.registry.terms import TermRegister
from tests.protocol.making import BORN, history, law, many_members

ENTRIES: list[Entry] = [
    *many_members(30),
    *history([(f"x{n}", n) for n in range(30)]).said,
    TableDigest("b", BORN, 3, 7),
]


def of(entries: list[Entry]) -> Fingerprint:
    fresh = Fingerprint()
    for entry in entries:
        fresh.replace(None, entry)
    return fresh


def compared(opener: Fingerprint, accepter: Fingerprint) -> tuple[list[Entry], list[Entry]]:
    """What the opener and the accepter each receive in a session."""
    to_opener: list[Entry] = []
    to_accepter: list[Entry] = []
    wants = []
    for answer in answer_compare(accepter, Compare(opener.sums)):
        if isinstance(answer, Listing):
            for said in answer_listing(opener, answer):
                wants.append(said) if isinstance(said, Want) else to_accepter.append(said)
        else:
            to_opener.append(answer)
    for want in wants:
        to_opener += answer_want(accepter, want)
    return to_opener, to_accepter


@law
@given(st.sets(st.integers(0, len(ENTRIES) - 1)), st.sets(st.integers(0, len(ENTRIES) - 1)))
def test_each_side_learns_exactly_what_it_lacks(ours: set[int], theirs: set[int]) -> None:
    opener, accepter = (of([ENTRIES[n] for n in numbers]) for numbers in (ours, theirs))
    to_opener, to_accepter = compared(opener, accepter)
    assert {id(entry) for entry in to_opener} == {id(ENTRIES[n]) for n in theirs - ours}
    assert {id(entry) for entry in to_accepter} == {id(ENTRIES[n]) for n in ours - theirs}
    assert len(to_opener) == len(theirs - ours)


def test_equal_states_have_nothing_to_say() -> None:
    assert list(answer_compare(of(ENTRIES), Compare(of(ENTRIES).sums))) == []


def test_a_joiner_gets_everything_in_one_turn_members_before_records() -> None:
    answers = list(answer_compare(of(ENTRIES), Compare((0,) * BUCKETS)))
    assert len(answers) == len(ENTRIES)
    kinds = [isinstance(answer, MemberUpdate) for answer in answers]
    assert kinds == sorted(kinds, reverse=True)


def test_only_buckets_that_differ_are_listed() -> None:
    many: list[Entry] = list(many_members(5000))
    answers = list(answer_compare(of(many), Compare(of(many[1:]).sums)))
    assert [type(answer) for answer in answers] == [Listing]


def test_entries_that_went_meanwhile_are_not_sent() -> None:
    member = many_members(1)[0]
    state = of([member])
    [bucket] = (number for number, xor in enumerate(state.sums) if xor)
    want = Want(bucket, (member.digest, 1))
    assert list(answer_want(state, want)) == [member]
    state.replace(member, None)
    assert list(answer_want(state, want)) == []


def test_nothing_is_wanted_when_all_is_known() -> None:
    member = many_members(1)[0]
    state = of([member])
    [bucket] = (number for number, xor in enumerate(state.sums) if xor)
    assert list(answer_listing(state, Listing(bucket, (member.digest,)))) == []


def test_sums_of_another_number_of_buckets_never_get_this_far() -> None:
    with pytest.raises(AssertionError, match="number of sums"):
        list(answer_compare(of([]), Compare((0,))))


# Terms: a primary acts on them, so they are told before records, and to a peer that holds others


TERM = TermRegister("orders", claimed=3, seen=4)


def in_one_bucket() -> list[Entry]:
    """A record, a term and a member that share a bucket, in the opposite of the order in which they are told."""
    bucket = bucket_of(TERM)
    record = next(each for each in history([(f"x{n}", n) for n in range(2000)]).said if bucket_of(each) == bucket)
    member = next(each for each in many_members(2000) if bucket_of(each) == bucket)
    return [record, TERM, member]


def bucket_of(entry: Entry) -> int:
    return next(number for number, xor in enumerate(of([entry]).sums) if xor)


def test_members_are_told_first_then_terms_then_the_rest() -> None:
    record, term, member = entries = in_one_bucket()
    state, bucket = of(entries), bucket_of(TERM)
    assert list(answer_compare(state, Compare((0,) * BUCKETS))) == [member, term, record]
    assert list(answer_listing(state, Listing(bucket, ()))) == [member, term, record]
    assert list(answer_want(state, Want(bucket, tuple(entry.digest for entry in entries)))) == [member, term, record]


def test_where_a_bucket_differs_its_terms_are_told_beside_its_listing() -> None:
    record, term, member = in_one_bucket()
    answers = list(answer_compare(of([record, term, member]), Compare(of([member]).sums)))
    assert answers[0] == term
    [listing] = answers[1:]
    assert isinstance(listing, Listing)
    assert sorted(listing.digests) == sorted(entry.digest for entry in (record, term, member))
