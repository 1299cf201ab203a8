"""Who was heard last, and so whether anybody can bear witness."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.membership.hearing import Hearing
from tests.protocol.making import law


def test_silence_counts_from_the_last_word_of_anybody() -> None:
    hearing = Hearing(10.0)
    assert hearing.silence(12.0) == 2.0
    hearing.heard(1, 13.0)
    hearing.heard(2, 14.0)
    assert hearing.silence(15.0) == 1.0


def test_nobody_is_no_witness() -> None:
    assert not Hearing(0.0).has_witness(1, -5.0)


def test_the_accused_is_no_witness_in_its_own_cause() -> None:
    hearing = Hearing(0.0)
    hearing.heard(1, 5.0)
    assert not hearing.has_witness(1, 4.0)
    assert hearing.has_witness(2, 4.0)


def test_a_witness_from_before_the_suspicion_does_not_count() -> None:
    hearing = Hearing(0.0)
    hearing.heard(2, 5.0)
    assert not hearing.has_witness(1, 5.0)


@law
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3))), st.integers(1, 4), st.integers(0, 30))
def test_it_remembers_enough_to_find_a_witness_against_anybody(
    words: list[tuple[int, int]], accused: int, since: int
) -> None:
    hearing = Hearing(0.0)
    now = 0
    heard = []
    for life, later in words:
        now += later
        hearing.heard(life, now)
        heard.append((life, now))
    expected = any(life != accused and at > since for life, at in heard)
    assert hearing.has_witness(accused, since) == expected
