"""When a suspicion becomes a verdict, and when nobody is fit to give one."""

from __future__ import annotations

from random import Random

import attrs

from gossipreg.config import Settings
from gossipreg.model import Status
from gossipreg.protocol.membership.detector import Detector
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.membership.rumor import Rumor
from tests.protocol.making import crowd, rumor


@attrs.define
class Court:
    """A detector of ``a`` among others, with m0 accused at 10.0."""

    detector: Detector
    others: list[Rumor]
    accused: Rumor

    def hear(self, number: int, since: float, until: float = 0.0) -> None:
        """Hear a member at ``since``, and every second until ``until``."""
        now = since
        while now <= max(since, until):
            self.detector.heard(self.others[number].life, now)
            now += 1.0

    def judged(self, now: float) -> list[Rumor]:
        return self.detector.verdicts(now)

    def exclude(self, number: int) -> None:
        failed = self.others[number].graver(Status.FAILED)
        self.detector.members.put(failed, 0.0)


def court(count: int = 4, *, refused: bool = False) -> Court:
    settings = Settings(suspicion_alpha=4.0)
    members = Members(settings, Random(1), "a")
    others = crowd(count)
    members.put(rumor("a", port=7000), 0.0)
    for other in others:
        members.put(other, 0.0)
    detector = Detector.create(settings, members, Random(1), 0.0)
    detector.heard(others[-1].life, 9.5)
    accused = others[0].graver(Status.SUSPECT, 1, refused=refused)
    members.put(accused, 10.0)
    detector.suspected(accused, 10.0)
    return Court(detector, others, accused)


def test_it_begins_to_probe_within_its_first_period() -> None:
    starts = [
        Detector.create(Settings(), Members(Settings(), Random(1), "a"), Random(seed), 5.0).deadline
        for seed in range(50)
    ]
    assert min(starts) >= 5.0
    assert max(starts) <= 6.0
    assert len(set(starts)) == 50


def test_a_suspect_whose_time_is_over_is_judged_if_another_was_heard() -> None:
    one = court()
    one.hear(1, 10.5, 33.5)
    assert one.judged(33.9) == []
    assert one.judged(34.0) == [one.accused]


def test_the_next_deadline_is_the_first_of_a_probe_and_a_verdict() -> None:
    one = court()
    assert one.detector.deadline < 1.0
    one.hear(1, 10.5, 33.5)
    one.detector.prober.next_period = 1e9
    assert one.detector.deadline == 34.0


def test_without_a_witness_the_verdict_is_put_off() -> None:
    one = court()
    one.hear(0, 10.5, 34.5)  # the accused itself
    assert one.judged(34.0) == []
    one.hear(1, 34.6)
    assert one.judged(34.9) == []
    assert one.judged(35.0) == [one.accused]


def test_the_accuseds_own_kernel_is_witness_enough() -> None:
    one = court(refused=True)
    assert one.judged(14.0) == [one.accused]


def test_in_a_pair_there_is_no_witness_and_the_longest_time_must_do() -> None:
    one = court(1)
    assert one.judged(33.9) == []
    assert one.judged(34.0) == [one.accused]


def test_confirmations_shorten_it_and_a_refusal_even_more() -> None:
    one = court()
    assert one.detector.confirm("m0", 2)
    assert not one.detector.confirm("m0", 2)
    one.hear(1, 10.5, 13.5)
    assert one.judged(14.0) == []
    assert one.detector.confirm("m0", 3, refused=True)
    assert one.judged(14.0) == [one.accused]


def test_nobody_in_particular_confirms_nothing_and_nobody_is_confirmed_who_is_not_suspect() -> None:
    one = court()
    assert not one.detector.confirm("m0", 0)
    assert not one.detector.confirm("m1", 2)


def test_a_suspect_that_answers_gets_its_full_time_again() -> None:
    one = court()
    one.detector.confirm("m0", 2)
    one.hear(1, 10.5, 43.5)
    one.detector.answered("m0", 20.0)
    one.detector.answered("m1", 20.0)
    assert one.judged(43.9) == []
    assert one.judged(44.0) == [one.accused]


def test_one_who_is_cleared_is_not_judged() -> None:
    one = court()
    one.detector.cleared("m0")
    one.detector.cleared("m1")
    one.hear(1, 30.0)
    assert one.judged(1000.0) == []


def test_a_node_that_hears_no_member_for_four_periods_is_isolated_however_well_it_thinks_of_itself() -> None:
    for steps in (0, 8):
        one = court()
        one.detector.health.worse(steps)
        assert not one.detector.is_isolated(13.5)
        assert one.detector.is_isolated(13.6)
        one.hear(1, 13.6)
        assert not one.detector.is_isolated(13.6)


def test_members_are_pinged_in_every_period_of_a_silence_before_it_counts() -> None:
    one = court()
    one.detector.prober.next_period = 1e9
    asked = [tick / 10 for tick in range(96, 160) if one.detector.recheck(tick / 10)]
    assert asked == [11.5, 12.5, 13.5, 14.5, 15.5]
    one.hear(1, 16.0)
    assert one.detector.deadline == 18.0
    assert one.detector.recheck(17.9) == []
    assert {each.name for each in one.detector.recheck(18.0)} < {"m0", "m1", "m2", "m3"}


def test_where_no_member_is_present_none_is_pinged() -> None:
    one = court(1)
    one.exclude(0)
    assert one.detector.recheck(100.0) == []


def test_a_node_that_was_cut_off_begins_its_suspicions_anew() -> None:
    one = court()
    one.hear(1, 30.0, 53.0)  # after 20 seconds of silence
    assert one.judged(53.9) == []
    assert one.judged(54.0) == [one.accused]


def test_however_unwell_it_thinks_itself_the_first_voice_after_a_silence_is_no_witness_to_what_went_before() -> None:
    one = court()
    one.detector.health.worse(8)
    one.hear(1, 33.0)
    assert not one.detector.is_isolated(33.0)
    one.hear(1, 34.0, 56.9)
    assert one.judged(34.5) == []
    assert one.judged(57.0) == [one.accused]


def test_a_node_that_was_itself_stopped_gives_the_accused_the_time_back() -> None:
    one = court()
    one.hear(1, 10.5, 12.5)
    one.detector.postpone(2.0, now=14.5)
    one.hear(1, 14.5, 35.5)
    assert one.judged(35.9) == []
    assert one.judged(36.0) == [one.accused]


def test_a_node_that_was_stopped_for_long_gives_the_full_time_and_no_more() -> None:
    one = court()
    one.hear(1, 110.0)  # what waited at the socket is read first, and shows that we heard nobody for long
    one.detector.postpone(100.0, now=110.0)
    one.hear(1, 110.5, 133.5)
    assert one.judged(133.9) == []
    assert one.judged(134.0) == [one.accused]


def test_a_pair_left_over_from_a_larger_cluster_judges_like_a_pair() -> None:
    one = court(2)
    one.exclude(1)
    assert one.judged(34.0) == [one.accused]
