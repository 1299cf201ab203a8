"""Members that answer through others only: what counts as that, and in which direction packets are lost."""

from __future__ import annotations

from gossipreg.protocol.membership.indirect_answers import Indirect, IndirectAnswers


def test_one_answer_through_others_is_chance_and_two_in_a_row_are_not() -> None:
    answers = IndirectAnswers()
    answers.through_others(1, 10.0)
    assert answers.find(1) is None
    assert answers.found() == {}
    answers.through_others(1, 15.0)
    assert answers.find(1) == Indirect(10.0, is_heard=False)
    assert answers.found() == {1: Indirect(10.0, is_heard=False)}
    answers.directly(1)
    answers.through_others(1, 20.0)
    assert answers.find(1) is None
    assert answers.find(2) is None


def test_a_member_whose_own_packets_arrive_is_heard_until_they_have_not_for_two_probes() -> None:
    answers = IndirectAnswers()
    answers.heard(1)
    answers.through_others(1, 10.0)
    answers.heard(2)
    answers.heard(1)
    answers.through_others(1, 11.0)
    assert answers.find(1) == Indirect(10.0, is_heard=True)
    answers.through_others(1, 12.0)
    assert answers.find(1) == Indirect(10.0, is_heard=False)


def test_members_that_are_gone_are_forgotten() -> None:
    answers = IndirectAnswers()
    for run_id in (1, 2):
        answers.through_others(run_id, 1.0)
        answers.through_others(run_id, 2.0)
    answers.keep(lambda run_id: run_id == 1)
    assert answers.found().keys() == {1}
