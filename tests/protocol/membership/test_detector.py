"""When a suspicion expires, and when a node may not declare a failure."""

from __future__ import annotations

from random import Random

import attrs
import pytest

from gossipreg.model import Status
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from tests.protocol.making import many_members, update

#: So that a member that does not answer at once does not answer at all.
HASTY = EngineSettings(suspicion_alpha=4.0, probe_timeout=0.001, probe_timeout_min=0.001)

#: With half a second to answer the ping that verifies.
PATIENT = EngineSettings(suspicion_alpha=4.0)


@attrs.define
class Detecting:
    """A detector of ``a`` among others, with m0 accused at 10.0."""

    detector: Detector
    others: list[MemberUpdate]
    accused: MemberUpdate

    def deliver(self, number: int, since: float, until: float = 0.0) -> None:
        """Be answered by a member at ``since``, and every second until ``until``."""
        now = since
        while now <= max(since, until):
            self.detector.message_received(self.others[number].run_id, now)
            self.detector.answer_received(self.others[number].run_id, now)
            now += 1.0

    def failed_at(self, now: float) -> list[MemberUpdate]:
        """The failures at ``now``, of a node whose verifying ping is answered at once or never."""
        self.detector.expired_suspicions(now)
        return self.detector.expired_suspicions(now + 0.0011).failures

    def exclude(self, number: int) -> None:
        failed = self.others[number].graver(Status.FAILED)
        self.detector.members.put(failed, 0.0)


def detecting(count: int = 4, *, refused: bool = False, settings: EngineSettings = HASTY) -> Detecting:
    members = Members(settings, Random(1), "a")
    others = many_members(count)
    members.put(update("a", port=7000), 0.0)
    for other in others:
        members.put(other, 0.0)
    detector = Detector.create(settings, members, Random(1), 0.0)
    detector.message_received(others[-1].run_id, 9.5)
    accused = others[0].graver(Status.SUSPECT, 1, refused=refused)
    members.put(accused, 10.0)
    detector.start_suspicion(accused, 10.0)
    return Detecting(detector, others, accused)


def test_it_begins_to_probe_within_its_first_period() -> None:
    starts = [
        Detector.create(EngineSettings(), Members(EngineSettings(), Random(1), "a"), Random(seed), 5.0).deadline
        for seed in range(50)
    ]
    assert min(starts) >= 5.0
    assert max(starts) <= 6.0
    assert len(set(starts)) == 50


def test_a_suspicion_that_expires_is_a_failure_if_another_member_was_heard() -> None:
    one = detecting()
    one.deliver(1, 10.5, 33.5)
    assert one.failed_at(33.9) == []
    assert one.failed_at(34.0) == [one.accused]


def test_the_next_deadline_is_the_first_of_a_probe_and_a_failure() -> None:
    one = detecting()
    assert one.detector.deadline < 1.0
    one.deliver(1, 10.5, 33.5)
    one.detector.prober.next_period = 1e9
    assert one.detector.deadline == pytest.approx(34.0, abs=0.01)


def test_without_a_witness_the_failure_is_put_off_until_there_is_one_and_then_verified() -> None:
    one = detecting(settings=PATIENT)
    one.deliver(0, 10.5, 33.5)  # the accused itself
    one.detector.message_received(one.others[1].run_id, 33.4)  # another, which may not hear us
    due = one.detector.expired_suspicions(33.5)
    assert (due.failures, due.to_verify, due.lacks_witness) == ([], [], True)
    one.deliver(1, 33.7)
    assert one.detector.expired_suspicions(33.7).to_verify == [one.accused]
    assert one.detector.expired_suspicions(34.1).failures == []
    assert one.detector.expired_suspicions(34.2).failures == [one.accused]


def test_what_the_accused_answers_is_no_reason_to_look_again_for_a_witness_against_it() -> None:
    one = detecting(settings=PATIENT)
    one.detector.prober.next_period = 1e9
    one.deliver(0, 10.5, 33.5)
    assert one.detector.expired_suspicions(33.5).lacks_witness
    one.deliver(0, 33.6)
    assert not one.detector.expired_suspicions(33.6).lacks_witness
    assert one.detector.suspicion_deadline == 34.0
    one.detector.answer_received(12345, 33.7)  # an unknown run
    assert one.detector.suspicion_deadline == 33.5


def test_a_failure_is_verified_by_a_ping_of_our_own_shortly_before() -> None:
    one = detecting(settings=PATIENT)
    one.deliver(1, 10.5, 33.5)
    assert one.detector.expired_suspicions(33.4).to_verify == []
    assert one.detector.expired_suspicions(33.5).to_verify == [one.accused]
    one.detector.ack_received("m0", 33.6, late=True)
    assert one.failed_at(34.0) == []
    one.deliver(1, 35.0, 57.0)
    assert one.detector.expired_suspicions(57.1).to_verify == [one.accused]
    assert one.detector.expired_suspicions(57.6).failures == [one.accused]


def test_where_failures_are_not_verified_they_are_passed_at_once() -> None:
    one = detecting(settings=EngineSettings(suspicion_alpha=4.0, verify_failures=False))
    one.deliver(1, 10.5, 33.5)
    assert one.detector.expired_suspicions(33.9).failures == []
    assert one.detector.expired_suspicions(34.0).failures == [one.accused]


def test_a_peers_failure_is_verified_at_once_and_then_believed() -> None:
    one = detecting(settings=PATIENT)
    one.deliver(1, 10.5, 12.5)
    failure = one.others[0].graver(Status.FAILED, 2)
    one.detector.failure_received(failure)
    assert one.detector.expired_suspicions(13.0).to_verify == [one.accused]
    assert one.detector.expired_suspicions(13.4).failures == []
    assert one.detector.expired_suspicions(13.5).failures == [failure]


def test_a_peers_failure_is_believed_at_once_where_this_node_has_tried_itself() -> None:
    one = detecting(settings=PATIENT)
    one.deliver(1, 10.5, 12.5)
    one.detector.probe_failed("m0")
    one.detector.probe_failed("m1")
    failure = one.others[0].graver(Status.FAILED, 2)
    one.detector.failure_received(failure)
    assert one.detector.expired_suspicions(13.0).failures == [failure]


def test_a_node_that_has_looked_since_the_suspicion_was_confirmed_believes_a_peers_failure_at_once() -> None:
    one = detecting(settings=PATIENT)
    one.deliver(1, 10.5, 14.5)
    assert one.detector.expired_suspicions(10.6).to_verify == []
    one.detector.confirm("m0", 2)
    assert one.detector.deadline <= 10.7
    assert one.detector.expired_suspicions(10.7).to_verify == [one.accused]
    assert one.detector.expired_suspicions(10.8).to_verify == []
    failure = one.others[0].graver(Status.FAILED, 2)
    one.detector.failure_received(failure)
    assert one.detector.expired_suspicions(11.1).failures == []
    assert one.detector.expired_suspicions(11.2).failures == [failure]


def test_a_node_that_has_tried_itself_need_not_look() -> None:
    one = detecting(settings=PATIENT)
    one.detector.probe_failed("m0")
    one.detector.confirm("m0", 2)
    assert one.detector.expired_suspicions(11.0).to_verify == []


def test_a_suspicion_that_was_a_peers_failure_takes_the_shortest_time() -> None:
    one = detecting()
    one.deliver(1, 10.5, 13.5)
    one.detector.shorten_suspicion("m0")
    assert one.failed_at(13.9) == []
    assert one.failed_at(14.0) == [one.accused]


def test_the_accuseds_own_kernel_is_witness_enough_where_all_others_are_silent() -> None:
    one = detecting(refused=True)
    assert one.detector.expired_suspicions(10.0).to_verify == [one.accused]
    assert one.failed_at(14.0) == [one.accused]


def test_a_witness_from_before_this_node_was_cut_off_is_none() -> None:
    one = detecting()
    one.deliver(1, 10.5, 29.5)
    one.detector.message_received(one.others[2].run_id, 29.9)  # its own packets have been lost since then
    assert one.detector.is_isolated(34.0)
    assert one.failed_at(34.0) == []


def test_a_node_that_hears_others_and_has_lately_been_answered_by_none_declares_no_failure() -> None:
    one = detecting()
    one.deliver(1, 10.5, 29.5)
    for tick in range(300, 341):
        one.detector.message_received(one.others[2].run_id, tick / 10)
    assert not one.detector.is_isolated(34.0)
    assert one.failed_at(34.0) == []
    one.deliver(1, 34.5)
    assert one.failed_at(34.5) == [one.accused]


def test_a_refusal_proves_nothing_to_one_that_hears_others_and_is_answered_by_none() -> None:
    one = detecting(refused=True, settings=PATIENT)
    one.detector.expired_suspicions(10.0)
    one.detector.message_received(one.others[1].run_id, 12.0)
    assert one.failed_at(14.0) == []
    one.deliver(1, 14.2)
    one.detector.expired_suspicions(14.2)
    assert one.detector.expired_suspicions(14.7).failures == [one.accused]


def test_nothing_proves_anything_while_our_own_kernel_refuses_to_send() -> None:
    one = detecting(1, refused=True)
    one.detector.send_rejected(one.others[0].address, 12.0)
    assert one.detector.are_sends_rejected(21.9)
    assert one.failed_at(14.0) == []


def test_in_a_pair_a_send_that_was_refused_long_ago_does_not_keep_a_dead_peer_suspect() -> None:
    one = detecting(1)
    one.detector.send_rejected(one.others[0].address, 30.0)
    assert one.failed_at(34.0) == []
    assert one.failed_at(39.9) == [], "the kernel may still refuse"
    assert not one.detector.are_sends_rejected(40.0)
    assert one.failed_at(41.0) == [one.accused]


def test_where_every_peer_was_killed_a_send_that_was_refused_long_ago_does_not_keep_them_suspect() -> None:
    one = detecting(refused=True)
    for other in one.others[1:]:
        one.detector.send_rejected(other.address, 12.0)
    assert one.failed_at(14.0) == []
    assert one.failed_at(22.0) == [one.accused]


def test_in_a_pair_there_is_no_witness_and_the_longest_time_must_do() -> None:
    one = detecting(1)
    assert one.failed_at(33.9) == []
    assert one.failed_at(34.0) == [one.accused]


def test_confirmations_shorten_it_and_a_refusal_even_more() -> None:
    one = detecting()
    assert one.detector.confirm("m0", 2)
    assert not one.detector.confirm("m0", 2)
    one.deliver(1, 10.5, 13.5)
    assert one.failed_at(14.0) == []
    assert one.detector.confirm("m0", 3, refused=True)
    assert one.failed_at(14.0) == [one.accused]


def test_a_confirmation_needs_an_accuser_and_a_suspect() -> None:
    one = detecting()
    assert not one.detector.confirm("m0", 0)
    assert not one.detector.confirm("m1", 2)


def test_a_suspect_that_answers_gets_its_full_time_again() -> None:
    one = detecting()
    one.detector.confirm("m0", 2)
    one.deliver(1, 10.5, 43.5)
    one.detector.ack_received("m0", 20.0, late=False)
    one.detector.ack_received("m1", 20.0, late=True)
    assert one.failed_at(43.9) == []
    assert one.failed_at(44.0) == [one.accused]


def test_a_cleared_suspect_is_not_declared_failed() -> None:
    one = detecting()
    one.detector.end_suspicion("m0")
    one.detector.end_suspicion("m1")
    one.deliver(1, 30.0)
    assert one.failed_at(1000.0) == []


def test_a_node_that_hears_no_member_for_four_periods_is_isolated_however_well_it_thinks_of_itself() -> None:
    for steps in (0, 8):
        one = detecting()
        one.detector.health.worse(steps)
        assert not one.detector.is_isolated(13.5)
        assert one.detector.is_isolated(13.6)
        one.deliver(1, 13.6)
        assert not one.detector.is_isolated(13.6)


def test_members_are_pinged_in_every_period_of_a_silence_before_it_counts() -> None:
    one = detecting()
    one.detector.prober.next_period = 1e9
    asked = [tick / 10 for tick in range(96, 160) if one.detector.reachability_pings(tick / 10)]
    assert asked == [11.5, 12.5, 13.5, 14.5, 15.5]
    one.deliver(1, 16.0)
    assert one.detector.deadline == 18.0
    assert one.detector.reachability_pings(17.9) == []
    assert {each.name for each in one.detector.reachability_pings(18.0)} < {"m0", "m1", "m2", "m3"}


def test_where_no_member_is_present_none_is_pinged() -> None:
    one = detecting(1)
    one.exclude(0)
    assert one.detector.reachability_pings(100.0) == []


def test_a_node_that_was_cut_off_begins_its_suspicions_anew() -> None:
    one = detecting()
    one.deliver(1, 30.0, 53.0)  # after 20 seconds of silence
    assert one.failed_at(53.9) == []
    assert one.failed_at(54.0) == [one.accused]


def test_however_unwell_it_thinks_itself_the_first_accuser_after_a_silence_is_no_witness_to_what_went_before() -> None:
    one = detecting()
    one.detector.health.worse(8)
    one.deliver(1, 33.0)
    assert not one.detector.is_isolated(33.0)
    one.deliver(1, 34.0, 56.9)
    assert one.failed_at(34.5) == []
    assert one.failed_at(57.0) == [one.accused]


def test_a_node_that_was_itself_stopped_gives_the_accused_the_time_back() -> None:
    one = detecting()
    one.deliver(1, 10.5, 12.5)
    one.detector.postpone(2.0, now=14.5)
    one.deliver(1, 14.5, 35.5)
    assert one.failed_at(35.9) == []
    assert one.failed_at(36.0) == [one.accused]


def test_a_node_that_was_stopped_for_long_gives_the_full_time_and_no_more() -> None:
    one = detecting()
    one.deliver(1, 110.0)  # what waited at the socket is read first, and shows that no member was heard for long
    one.detector.postpone(100.0, now=110.0)
    one.deliver(1, 110.5, 133.5)
    assert one.failed_at(133.9) == []
    assert one.failed_at(134.0) == [one.accused]


def test_a_pair_left_over_from_a_larger_cluster_judges_like_a_pair() -> None:
    one = detecting(2)
    one.exclude(1)
    assert one.failed_at(34.0) == [one.accused]


# Whose fault


def test_a_member_that_was_stopped_for_long_or_heard_none_was_out_until_a_while_ago() -> None:
    one = detecting()
    one.detector._reconnected_at = -60.0  # it began with a silence
    assert not one.detector.was_cut_off(16.5)
    assert one.detector.was_cut_off(16.6), "it is out now"
    one.deliver(1, 17.0)
    one.deliver(1, 20.0)
    assert one.detector.was_cut_off(20.0), "a moment ago"
    for now in range(21, 47):
        one.deliver(1, float(now))
    assert one.detector.was_cut_off(46.9)
    assert not one.detector.was_cut_off(47.0)
    one.detector.postpone(4.0, 47.0)
    assert one.detector.was_cut_off(48.0)


def test_a_stop_shorter_than_any_suspicion_is_nothing_that_others_can_have_failed_it_for() -> None:
    one = detecting()
    one.detector._reconnected_at = -60.0  # it began with a silence
    for now in range(11, 61):
        one.deliver(1, float(now))
        one.detector.postpone(3.9, float(now))
        assert not one.detector.was_cut_off(float(now))


def test_one_that_misses_many_acks_is_unwell_and_on_probation_one_that_misses_any() -> None:
    one = detecting()
    assert not one.detector.is_unhealthy(on_probation=True)
    one.detector.health.worse()
    assert one.detector.is_unhealthy(on_probation=True)
    assert not one.detector.is_unhealthy(on_probation=False)
    one.detector.health.worse(3)
    assert one.detector.is_unhealthy(on_probation=False)
    one.detector.health.worst, one.detector.health.score = 7, 3
    assert not one.detector.is_unhealthy(on_probation=False), "it is less than a half"
    one.detector.health.worst = one.detector.health.score = 0
    assert one.detector.is_unhealthy(on_probation=False), "it does not count, so it may be"


def test_it_remembers_members_that_it_could_not_reach_except_those_with_a_late_answer() -> None:
    one = detecting()
    assert one.detector.unreachable_members(60.0, 20.0) == ["m0"]
    one.detector.ack_received("m0", 20.0, late=False)
    assert one.detector.unreachable_members(60.0, 69.9) == ["m0"]
    assert one.detector.unreachable_members(60.0, 70.0) == []
    one.detector.ack_received("m0", 21.0, late=True)
    assert one.detector.unreachable_members(60.0, 21.0) == []
