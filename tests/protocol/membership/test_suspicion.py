"""How long a suspicion lasts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.suspicion import Suspicion
from tests.protocol.making import law, update


def suspicion(members: int = 10, *, refused: bool = False, **settings: float) -> Suspicion:
    chosen = EngineSettings(**{"suspicion_alpha": 4.0, **settings})  # type: ignore[arg-type]
    return Suspicion.start(chosen, members, 1, 100.0, refused=refused)


@law
@given(
    members=st.integers(1, 10_000),
    alpha=st.floats(0.5, 10),
    beta=st.floats(1, 10),
    wanted=st.integers(1, 6),
    accusers=st.lists(st.integers(1, 9)),
)
def test_it_lasts_as_long_as_the_formula_says(
    members: int, alpha: float, beta: float, wanted: int, accusers: list[int]
) -> None:
    one = suspicion(members, suspicion_alpha=alpha, suspicion_beta=beta, suspicion_confirmations=wanted)
    for accuser in accusers:
        one.confirm(accuser)
    shortest = alpha * max(1.0, math.log10(members))
    longest = beta * shortest
    k = max(0, min(wanted, members - 2))
    c = min(k, len({1, *accusers}) - 1)
    expected = max(shortest, longest - (longest - shortest) * math.log(c + 1) / math.log(k + 1)) if k else longest
    assert one.timeout == pytest.approx(expected)
    assert one.deadline == pytest.approx(100.0 + expected)


def test_each_new_accuser_shortens_it_until_there_are_enough() -> None:
    one = suspicion()
    lengths = [one.timeout]
    for accuser in (2, 3, 4):
        assert one.confirm(accuser)
        lengths.append(one.timeout)
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == 24.0
    assert lengths[-1] == 4.0
    assert not one.confirm(5)


def test_a_accuser_counts_once() -> None:
    one = suspicion()
    assert not one.confirm(1)
    assert one.confirm(2)
    assert not one.confirm(2)
    assert one.confirmations == 1


def test_it_waits_for_no_more_accusers_than_there_can_be() -> None:
    trio = suspicion(3)
    assert trio.confirm(2)
    assert trio.timeout == trio.shortest


def test_a_pair_has_no_other_accuser_and_takes_the_longest_time() -> None:
    assert suspicion(2).timeout == suspicion(2).longest
    assert not suspicion(2).confirm(2)


def test_a_refusal_is_worth_all_accusers() -> None:
    assert suspicion(3, refused=True).timeout == 4.0


def test_two_refused_are_proof_and_in_a_pair_one_is() -> None:
    one = suspicion(refused=True)
    told = [(one.refuse(accuser), one.is_proven) for accuser in (1, 2, 3)]
    assert told == [(False, False), (True, True), (False, True)]
    assert one.is_refused
    assert suspicion(2, refused=True).is_proven
    assert not suspicion(2).is_proven


def test_renewed_it_starts_over_with_the_first_accuser_alone_but_what_a_kernel_said_stands() -> None:
    one = suspicion(refused=True)
    one.confirm(2)
    one.restart(110.0)
    assert one.confirmations == 0
    assert one.deadline == 114.0


def test_answered_it_starts_over_and_even_a_refusal_is_forgotten() -> None:
    one = suspicion(refused=True)
    one.confirm(2)
    one.ack_received(110.0)
    assert one.confirmations == 0
    assert one.deadline == 134.0
    assert one.confirm(2)


def test_postponed_it_gives_back_the_time_in_which_we_did_not_listen() -> None:
    one = suspicion()
    one.postpone(50.0, now=155.0)
    assert one.deadline == 174.0


def test_postponed_it_does_not_start_in_the_future() -> None:
    one = suspicion()
    one.postpone(50.0, now=100.0)  # it began just now, after we were back
    assert one.deadline == 124.0


def test_put_off_it_ends_no_earlier_than_said() -> None:
    one = suspicion(refused=True)
    one.defer(103.0)
    assert one.deadline == 104.0
    one.defer(105.0)
    assert one.deadline == 105.0


def test_it_is_confirmed_by_one_more_accuser_or_by_the_accuseds_kernel() -> None:
    assert not suspicion().is_confirmed
    one = suspicion()
    one.confirm(2)
    assert one.is_confirmed
    assert suspicion(refused=True).is_confirmed
    assert suspicion(2).is_confirmed, "in a pair there is no other member"


def test_it_is_counted_in_probe_intervals() -> None:
    assert suspicion(probe_interval=0.25, probe_timeout=0.2).timeout == pytest.approx(suspicion().timeout / 4)


# Verified


def verifying(**fields: float) -> Suspicion:
    """A suspicion from 100.0 on, whose accused may take 0.5 s to answer."""
    return Suspicion.start(EngineSettings(suspicion_alpha=4.0), 10, 1, 100.0, ack_timeout=0.5, **fields)  # type: ignore[arg-type]


def verified(one: Suspicion) -> bool:
    return one.is_verified


def test_shortly_before_its_end_the_accused_is_to_be_pinged_and_has_its_time_to_answer() -> None:
    one = verifying()
    assert one.due == one.deadline - 0.5
    assert verified(one) is False
    one.verify(one.due)
    assert verified(one) is True
    assert one.due == one.deadline
    one.confirm(2)
    one.confirm(3)
    one.confirm(4)
    assert one.deadline == 104.0
    assert one.due == 124.0, "it was pinged already, and has its time"


def test_a_peers_failure_leaves_no_more_than_the_time_to_answer() -> None:
    one = verifying()
    failure = update("b").graver(Status.FAILED, 2)
    one.failure_received(failure)
    assert (one.due, one.is_verified) == (100.0, False)
    one.verify(101.0)
    assert one.due == 101.5
    one.ack_received(101.2)
    assert one.due == one.deadline - 0.5 == 124.7


def test_a_peers_failure_leaves_no_time_where_this_node_has_had_no_answer_itself() -> None:
    one = verifying()
    one.probe_failed()
    assert not one.is_verified, "of itself it would ask once more"
    one.failure_received(update("b").graver(Status.FAILED, 2))
    assert (one.due, one.is_verified) == (100.0, True)


def test_confirmed_by_others_the_accused_is_to_be_pinged_at_once_and_again_before_the_end() -> None:
    one = verifying()
    assert not one.wants_early_ping
    one.confirm(2)
    assert (one.wants_early_ping, one.due) == (True, 100.0)
    one.early_ping(100.3)
    assert (one.wants_early_ping, one.due) == (False, one.deadline - 0.5)
    assert not one.is_verified, "what was seen long before the end is no proof by itself"
    one.ack_received(100.4)
    one.confirm(3)
    assert (one.wants_early_ping, one.due) == (True, 101.4), "asked anew when others insist, but not at once"


@pytest.mark.parametrize("fields", [{"members": 2}, {"members": 10, "suspicion_confirmations": 0}])
def test_without_confirmations_a_suspect_that_answers_without_refuting_is_not_pinged_at_each_answer(
    fields: dict[str, int],
) -> None:
    """Flap damping has it wait; a ping at each answer kept two nodes busy for as long as that."""
    members = fields.pop("members")
    one = Suspicion.start(EngineSettings(**fields), members, 1, 100.0, ack_timeout=0.5)  # type: ignore[arg-type]
    now, pings = 100.0, 0
    while now < 110.0:
        one.early_ping(now) if one.wants_early_ping else one.verify(now)
        pings += 1
        one.ack_received(now + 0.001)
        now = one.due
    assert pings <= 11


def test_nor_is_it_where_a_suspicion_is_no_longer_than_an_answer_may_take() -> None:
    short = EngineSettings(suspicion_alpha=0.1, suspicion_beta=1.0)
    one = Suspicion.start(short, 10, 1, 100.0, ack_timeout=0.5)
    one.probe_failed()
    one.verify(one.due)
    one.ack_received(100.1)
    one.probe_failed()
    assert one.due == 101.1


def test_confirmed_shortly_before_its_end_it_is_verified_by_the_same_ping() -> None:
    one = verifying()
    one.confirm(2)
    one.early_ping(one.deadline - 0.2)
    assert one.is_verified
    assert one.due == one.deadline + 0.3


def test_a_peers_failure_leaves_no_time_once_this_node_has_looked() -> None:
    one = verifying()
    one.confirm(2)
    one.early_ping(100.3)
    one.failure_received(update("b").graver(Status.FAILED, 2))
    assert one.is_verified
    assert one.due == pytest.approx(100.8)


def test_a_peers_failure_does_not_outdate_the_ping_that_verifies() -> None:
    one = verifying()
    one.confirm(2)
    one.early_ping(100.3)
    one.verify(one.due)
    due = one.due
    one.failure_received(update("b").graver(Status.FAILED, 2))
    assert one.due == due


def test_without_verification_no_suspect_is_pinged() -> None:
    one = suspicion(verify_failures=False)
    one.confirm(2)
    assert not one.wants_early_ping


def test_put_off_it_is_to_be_verified_once_more_and_with_a_witness_at_once() -> None:
    one = verifying()
    one.verify(123.5)
    one.defer(130.0)
    assert (one.due, one.is_verified) == (129.5, False)
    one.witness_found(126.0)
    assert one.due == 125.5


def test_hastened_it_takes_the_shortest_time() -> None:
    one = verifying()
    one.shorten()
    assert one.deadline == 104.0
