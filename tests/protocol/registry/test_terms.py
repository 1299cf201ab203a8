"""Term registers only grow, except by a reset; they merge to the same in every order."""

from __future__ import annotations

from functools import reduce

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import PRIMARY
from gossipreg.protocol.registry.terms import TermProofs, TermRegister, Terms
from tests.protocol.making import instance, law

registers = st.builds(
    TermRegister,
    st.just("pg"),
    st.integers(0, 2),
    st.integers(0, 1),
    st.sampled_from(["", "a", "b"]),
    st.integers(0, 3),
    st.integers(0, 3),
)


def claim(term: int, role: str | None = PRIMARY) -> TermRegister:
    return TermRegister("pg").raised(instance(service="pg", role=role, term=term))


@law
@given(registers, registers, registers)
def test_merging_is_commutative_associative_and_idempotent(
    one: TermRegister, two: TermRegister, three: TermRegister
) -> None:
    assert one.merged(two) == two.merged(one)
    assert one.merged(two).merged(three) == one.merged(two.merged(three))
    assert one.merged(one) == one
    assert one.merged(two).merged(two) == one.merged(two)


@law
@given(st.lists(registers, min_size=1), st.data())
def test_whatever_the_order_the_same_comes_of_it(said: list[TermRegister], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(said))
    assert reduce(TermRegister.merged, said) == reduce(TermRegister.merged, shuffled)


@law
@given(registers, registers)
def test_without_a_reset_nothing_ever_falls(held: TermRegister, said: TermRegister) -> None:
    merged = held.merged(said)
    assert merged.epoch >= held.epoch
    if merged.epoch == held.epoch:
        assert merged.claimed >= held.claimed
        assert merged.seen >= held.seen


@law
@given(registers, registers)
def test_other_registers_have_other_digests(one: TermRegister, two: TermRegister) -> None:
    assert (one.digest == two.digest) == (one == two)


def test_a_claim_counts_as_such_and_any_other_term_is_only_seen() -> None:
    assert (claim(7).claimed, claim(7).seen) == (7, 7)
    assert (claim(7, "replica").claimed, claim(7, None).seen) == (0, 7)
    assert claim(3).merged(claim(5, "replica")) == TermRegister("pg", claimed=3, seen=5)


def test_a_later_reset_outranks_every_term_before_it() -> None:
    reset = TermRegister("pg", 5, 0, "a", 1, 1)
    assert claim(9).merged(reset) == reset == reset.merged(claim(9))
    assert reset.merged(attrs.evolve(reset, counter=1, claimed=0, seen=0)).is_empty


def test_what_is_held_can_be_asked_for_by_service() -> None:
    terms = Terms()
    assert (terms.get("pg"), terms.claimed("pg"), terms.seen("pg")) == (None, 0, 0)
    assert terms.put(TermRegister("pg", claimed=1, seen=2)) == []
    assert terms.put(TermRegister("pg", claimed=3, seen=4)) == [TermRegister("pg", claimed=1, seen=2)]
    terms.put(TermRegister("a", seen=1))
    assert (terms.claimed("pg"), terms.seen("pg"), len(terms)) == (3, 4, 2)
    assert [each.service for each in terms] == ["a", "pg"]
    assert terms.take_changed() == ("pg", "a")
    assert terms.take_changed() == ()


def test_users_are_given_half_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TERMS_MAX", 1)
    terms = Terms()
    terms.put(TermRegister("a", seen=1))
    assert terms.has_room("a")
    assert not terms.has_room("b")
    assert terms.accepts(TermRegister("b", seen=1))
    terms.put(TermRegister("b", seen=1))
    assert not terms.accepts(TermRegister("c", seen=1))
    assert terms.accepts(TermRegister("b", seen=2))


def test_of_registers_that_a_reset_left_empty_the_latest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TERMS_EMPTY_MAX", 1)
    older, newer = TermRegister("a", 1, 0, "n"), TermRegister("b", 2, 0, "n")
    terms = Terms()
    assert terms.accepts(older)
    terms.put(older)
    assert terms.take_changed() == ("a",)
    assert terms.put(newer) == [older]
    assert list(terms) == [newer]
    assert not terms.accepts(older)
    assert not terms.accepts(TermRegister("c", 2, 0, "n")), "of two of one epoch the one that is held"
    assert terms.take_changed() == ("b", "a")


def test_of_a_reset_that_counts_no_more_only_numbers_are_left() -> None:
    terms = Terms()
    for service in ("a", "b"):
        terms.put(TermRegister(service, 1, 0, "n", claimed=1, seen=1))
    terms.take_changed()
    terms.void(TermRegister("a", claimed=1, seen=1))
    terms.void(TermRegister("b"))
    assert list(terms) == [TermRegister("a", claimed=1, seen=1)]
    assert terms.take_changed() == ("a", "b")


def test_each_number_of_a_merge_keeps_the_proof_of_the_register_that_stated_it() -> None:
    one = TermRegister("pg", claimed=1, seen=5, proofs=TermProofs(b"", b"claimed 1", b"seen 5"))
    other = TermRegister("pg", claimed=3, seen=3, proofs=TermProofs(b"", b"claimed 3", b"seen 3"))
    for merged in (one.merged(other), other.merged(one)):
        assert (merged.claimed, merged.seen) == (3, 5)
        assert merged.proofs == TermProofs(b"", b"claimed 3", b"seen 5")
