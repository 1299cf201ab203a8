"""Which members were heard or have answered lately, and so whether one can be a witness."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.membership.reachability import Reachability
from tests.protocol.making import address, law


def test_silence_counts_from_the_last_message_of_any_member() -> None:
    reachability = Reachability(10.0)
    assert reachability.silence(12.0) == 2.0
    reachability.heard(1, 13.0)
    reachability.heard(2, 14.0)
    assert reachability.silence(15.0) == 1.0


def test_no_member_is_no_witness() -> None:
    assert not Reachability(0.0).has_witness(1, -5.0)


def test_the_accused_is_no_witness_in_its_own_cause() -> None:
    reachability = Reachability(0.0)
    reachability.answered(1, 5.0)
    assert not reachability.has_witness(1, 4.0)
    assert reachability.has_witness(2, 4.0)


def test_a_witness_from_before_the_suspicion_does_not_count() -> None:
    reachability = Reachability(0.0)
    reachability.answered(2, 5.0)
    assert not reachability.has_witness(1, 5.0)


def test_one_that_was_merely_heard_is_no_witness() -> None:
    reachability = Reachability(0.0)
    reachability.heard(2, 5.0)
    assert not reachability.has_witness(1, 4.0)
    assert reachability.has_heard(4.0)
    assert not reachability.has_heard(5.0)


@law
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 3))), st.integers(1, 4), st.integers(0, 30))
def test_it_remembers_enough_to_find_a_witness_against_any_member(
    versions: list[tuple[int, int]], accused: int, since: int
) -> None:
    reachability = Reachability(0.0)
    now = 0
    heard = []
    for run_id, later in versions:
        now += later
        reachability.answered(run_id, now)
        heard.append((run_id, now))
    expected = any(run_id != accused and at > since for run_id, at in heard)
    assert reachability.has_witness(accused, since) == expected


def test_the_likeliest_to_answer_are_those_that_were_heard_last() -> None:
    reachability = Reachability(0.0)
    assert reachability.nearest == []
    reachability.answered(1, 5.0)
    reachability.heard(2, 6.0)
    reachability.heard(1, 7.0)
    reachability.heard(3, 8.0)
    assert reachability.nearest == [3, 1]


def test_a_kernel_that_refuses_two_destinations_rejects_us_until_a_peer_answers() -> None:
    reachability = Reachability(0.0)
    reachability.unsent(address(1), 5, 1.0, since=0.0)
    reachability.unsent(address(1), 5, 2.0, since=0.0)
    assert not reachability.is_rejected(5, 0.0), "one may be a stale address"
    reachability.unsent(address(2), 5, 3.0, since=0.0)
    reachability.unsent(address(3), 5, 4.0, since=0.0)
    assert reachability.is_rejected(5, 0.0)
    assert reachability.rejected_at == 4.0
    reachability.answered(1, 5.0)
    assert not reachability.is_rejected(5, 0.0)


def test_what_the_kernel_refused_long_ago_says_nothing_of_the_present() -> None:
    reachability = Reachability(0.0)
    reachability.unsent(address(1), 5, 1.0, since=0.0)
    reachability.unsent(address(2), 5, 2.0, since=1.0)
    assert reachability.rejected_at < 0.0
    reachability.unsent(address(1), 5, 3.0, since=1.0)
    assert reachability.rejected_at == 3.0
    assert reachability.is_rejected(5, 1.9)
    assert not reachability.is_rejected(5, 2.0)


def test_in_a_pair_one_destination_is_all_there_is() -> None:
    reachability = Reachability(0.0)
    assert not reachability.is_rejected(0, 0.0)
    reachability.unsent(address(1), 1, 1.0, since=0.0)
    assert reachability.is_rejected(1, 0.0)
