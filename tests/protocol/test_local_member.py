"""Updates about this node: refuted at once or later, conceded meanwhile; and which failures were its own fault."""

from __future__ import annotations

import attrs

from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS
from gossipreg.protocol.anti_entropy.reconcile import Compare, End
from gossipreg.protocol.membership.identity import RECLAIM_STEP_MS
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.probe import Ping
from gossipreg.protocol.registry.records import Record, TableDigest
from tests.protocol.delivering import (
    D,
    accuse,
    believed,
    conceded,
    deliver,
    many,
    receive_over_stream,
    replies,
)
from tests.protocol.making import BORN, engine, history, instance, said_to, update
from tests.protocol.test_engine import A, B, C, among, changes, transmitted


def test_a_member_that_is_declared_failed_refutes() -> None:
    node = among(B)
    outputs = deliver(node, B, A.graver(Status.FAILED, B.run_id))
    assert changes(outputs) == [("a", "alive")]
    assert believed(node, "a").incarnation == 1
    assert node.counters["refutations"] == 1


def test_a_member_that_is_failed_again_waits_before_it_refutes_and_refutes_no_suspicion_meanwhile() -> None:
    node = among(B)
    node.detector.health.worse(8)
    deliver(node, B, A.graver(Status.FAILED, B.run_id))
    again = attrs.evolve(A, incarnation=1)
    for number, status in enumerate((Status.FAILED, Status.SUSPECT, Status.FAILED)):
        assert changes(deliver(node, B, again.graver(status, B.run_id), now=7.0 + number / 8)) == []
    assert node.counters["returns_put_off"] == 1
    node.handle_timeout(36.9)
    assert believed(node, "a").incarnation == 1
    node.handle_timeout(37.0)
    assert believed(node, "a").incarnation == 2


def test_a_failure_that_it_has_outbid_before_it_heard_of_it_counts_as_a_return_all_the_same() -> None:
    node = among(B)
    node.detector.health.worse(8)
    deliver(node, B, A.graver(Status.SUSPECT, B.run_id))
    assert node.local_member.damping.wait(6.0) == 0.0
    for _ in range(3):
        deliver(node, B, A.graver(Status.FAILED, B.run_id))
    assert node.local_member.damping.wait(6.0) == 30.0


def test_a_newcomer_does_not_speak_for_its_name_before_it_is_announced() -> None:
    """Its past run may be a namesake's present one: a word about its table would bury that one's records."""
    node = engine("a", has_seeds=True, generation=BORN + 1)
    node.register(instance("mine"), 0.0)
    theirs = history([("x", 1)], owner="a").said[0]
    assert replies(receive_over_stream(node, B, theirs, Compare((0,) * BUCKETS), End())) == [End()]


def test_what_a_namesake_said_in_our_generation_makes_us_take_a_later_one() -> None:
    said: list[Record | TableDigest] = [history([("x", 1), ("y", 1)], owner="a").said[1], TableDigest("a", BORN, 7, 7)]
    later = BORN + RECLAIM_STEP_MS
    for foreign in said:
        node = among(B)
        node.register(instance("mine"), 6.0)
        receive_over_stream(node, B, foreign)
        assert node.identity.generation == later
        assert believed(node, "a").generation == later
        assert node.local_registry.own("mine") is not None
        node.leave(7.0)
        receive_over_stream(node, B, attrs.evolve(foreign, generation=later))
        assert node.identity.generation == later


def test_one_that_is_failed_again_and_again_by_its_own_fault_comes_back_later() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    accuse(node, 0, 6.0)
    outputs = accuse(node, 1, 7.0)
    assert node.identity.incarnation == 1
    assert node.local_member.deadline == 37.0
    assert changes(outputs) == []
    node.handle_timeout(36.9)
    assert node.identity.incarnation == 1
    outputs = node.handle_timeout(37.0)
    assert node.identity.incarnation == 2
    assert ("a", "alive") in changes(outputs)


def test_a_member_that_waits_concedes_its_failure_so_that_no_node_must_verify_it() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    accuse(node, 0, 6.0)
    accuse(node, 1, 7.0)
    concession = attrs.evolve(A, incarnation=1, status=Status.FAILED)
    told = [m for m in transmitted(node.handle_timeout(7.1)) if m == concession]
    assert told
    assert all(m.accuser == A.run_id for m in told if isinstance(m, MemberUpdate))
    assert concession in said_to(accuse(node, 1, 8.0, Status.SUSPECT, D), D.address), "to one that asks"
    assert concession in said_to(accuse(node, 0, 9.0, Status.SUSPECT, B), B.address), "and to one that knows less"


def test_one_that_waits_with_its_answer_to_a_mere_suspicion_concedes_nothing() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    accuse(node, 0, 6.0)
    accuse(node, 1, 7.0, Status.SUSPECT, C)
    assert node.counters["returns_put_off"] == 1
    conceded_of = [
        m for m in transmitted(node.handle_timeout(7.1)) if isinstance(m, MemberUpdate) and m.status is Status.FAILED
    ]
    assert conceded_of == []


def test_one_that_is_well_comes_back_at_once_however_often() -> None:
    node = among(B, C, D)
    for incarnation in range(4):
        accuse(node, incarnation, 6.0 + incarnation)
    assert node.identity.incarnation == 4


def test_one_that_has_failed_the_others_was_on_one_side_of_a_split_and_is_back_at_once() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    deliver(node, C, conceded(B))
    deliver(node, C, conceded(D))
    deliver(node, B, attrs.evolve(B, incarnation=1), now=6.1)
    deliver(node, D, attrs.evolve(D, incarnation=1), now=6.1)
    for incarnation in range(3):
        accuse(node, incarnation, 6.2)
    assert node.identity.incarnation == 3


def test_one_that_has_lately_failed_its_accuser_was_cut_off_from_it_and_is_back_at_once() -> None:
    node, _ = many()
    deliver(node, B, conceded(C))
    deliver(node, C, attrs.evolve(C, incarnation=1), now=6.1)
    accuse(node, 0, 6.2)
    accuse(node, 1, 6.3)
    assert node.identity.incarnation == 2
    accuse(node, 2, 60.2, accuser=B)
    accuse(node, 3, 66.2)
    assert node.identity.incarnation == 3, "a minute later that is no excuse any more"


def test_one_whose_own_kernel_refused_to_send_knows_the_cause_and_is_back_at_once() -> None:
    node, others = many()
    for other in others[:2]:
        assert node.unsent(other.address, 6.0) == []
    for incarnation in range(3):
        accuse(node, incarnation, 6.1)
    assert node.identity.incarnation == 3
    assert node.counters["packets_unsent"] == 2


def test_a_member_that_could_not_reach_its_accuser_or_many_others_was_cut_off_unless_it_heard_none() -> None:
    node, others = many()
    deliver(node, B, C.graver(Status.SUSPECT, B.run_id))
    accuse(node, 0, 6.1)
    accuse(node, 1, 6.2)
    assert node.identity.incarnation == 2
    node, others = many()
    for other in others[:2]:
        deliver(node, B, other.graver(Status.SUSPECT, B.run_id))
    accuse(node, 0, 6.1)
    accuse(node, 1, 6.2)
    assert node.identity.incarnation == 2
    node.detector.postpone(1.4, 6.25)  # a stop in which no suspicion of it can have ended
    accuse(node, 2, 6.25)
    assert node.identity.incarnation == 3
    node.detector.postpone(1.5, 6.3)
    accuse(node, 3, 6.3)
    accuse(node, 4, 6.4)
    assert node.identity.incarnation == 4


def test_a_member_that_others_fail_although_it_answers_them_returns_at_once_however_often_it_lags_a_little() -> None:
    node = among(B, C, D)
    for incarnation in range(5):
        now = 6.0 + incarnation
        node.handle_timeout(now, late=0.3)
        deliver(node, B, Ping(1, A.run_id, 0), now=now)
        accuse(node, incarnation, now)
        assert node.identity.incarnation == incarnation + 1
        node.detector.health.better()
    assert node.counters["lags"] == 5
    assert node.counters["returns_put_off"] == 0


def test_a_peer_that_has_missed_our_answer_is_told_it_again() -> None:
    node = among(B, C, D)
    accuse(node, 0, 6.0)
    said = attrs.evolve(A, incarnation=1)
    assert accuse(node, 0, 6.5, accuser=D) == [], "it may be on its way"
    assert said_to(accuse(node, 0, 7.5, accuser=D), D.address) == [said]
    assert accuse(node, 0, 7.6, accuser=D) == []
    assert accuse(node, 0, 8.5, Status.ALIVE) == [], "that is no accusation"
    stranger = update("x", port=7999)
    assert accuse(node, 0, 8.5, accuser=stranger) == []


def test_one_that_said_something_new_while_it_waited_needs_no_answer_any_more() -> None:
    node = among(B, C, D)
    node.detector.health.worse(8)
    for incarnation in (0, 1):
        deliver(node, C, attrs.evolve(A, incarnation=incarnation, status=Status.FAILED), now=6.0)
    node.drain(7.0)
    node.drain(7.0)
    incarnation = node.identity.incarnation
    node.handle_timeout(36.0)
    assert node.identity.incarnation == incarnation
    assert node.local_member.deadline == float("inf")
