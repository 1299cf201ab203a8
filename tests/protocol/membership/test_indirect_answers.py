"""Members that answer through others only: what counts as that, and in which direction packets are lost."""

from __future__ import annotations

from gossipreg.protocol.membership.indirect_answers import Indirect, IndirectAnswers


def test_one_or_two_answers_through_others_are_chance_and_three_in_a_row_are_not() -> None:
    answers = IndirectAnswers()
    for now in (10.0, 15.0):
        answers.through_others(1, now)
        assert answers.find(1) is None
    assert answers.found() == {}
    answers.through_others(1, 20.0)
    assert answers.find(1) == Indirect(10.0, is_heard=False)
    assert answers.found() == {1: Indirect(10.0, is_heard=False)}
    answers.directly(1)
    answers.through_others(1, 25.0)
    assert answers.find(1) is None
    assert answers.find(2) is None


def test_where_the_members_own_packets_arrive_two_in_a_row_are_enough() -> None:
    answers = IndirectAnswers()
    answers.heard(1)
    answers.through_others(1, 10.0)
    answers.heard(2)
    answers.heard(1)
    assert answers.find(1) is None
    answers.through_others(1, 11.0)
    assert answers.find(1) == Indirect(10.0, is_heard=True)


def test_a_member_counts_as_heard_for_some_probes_after_its_last_packet() -> None:
    answers = IndirectAnswers()
    answers.through_others(1, 10.0)
    answers.heard(1)
    for now in (11.0, 12.0, 13.0):
        answers.through_others(1, now)
        assert answers.find(1) == Indirect(10.0, is_heard=True)
    answers.through_others(1, 14.0)
    assert answers.find(1) == Indirect(10.0, is_heard=False)


def test_unanswered_pings_are_counted_until_the_member_itself_answers() -> None:
    answers = IndirectAnswers()
    assert answers.unanswered(1) == 0
    answers.no_answer(1)
    answers.through_others(1, 10.0)
    answers.no_answer(1)
    assert [answers.unanswered(run_id) for run_id in (1, 2)] == [2, 0]
    answers.directly(1)
    assert answers.unanswered(1) == 0
    for _ in range(300):
        answers.no_answer(1)
    assert answers.unanswered(1) == 255


def test_members_that_are_gone_are_forgotten() -> None:
    answers = IndirectAnswers()
    for run_id in (1, 2):
        answers.no_answer(run_id)
        for now in (1.0, 2.0, 3.0):
            answers.through_others(run_id, now)
    answers.keep(lambda run_id: run_id == 1)
    assert answers.found().keys() == {1}
    assert [answers.unanswered(run_id) for run_id in (1, 2)] == [1, 0]
