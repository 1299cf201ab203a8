"""How many packets answer peers, and how they are filled."""

from __future__ import annotations

from collections.abc import Iterator

from gossipreg.protocol.dissemination.answer_budget import AnswerBudget, fill_packets


def test_a_budget_is_full_at_first_and_fills_again_within_a_second() -> None:
    budget = AnswerBudget(4)
    assert budget.left(100.0) == 4
    budget.spend(4)
    assert budget.left(100.0) == 0
    assert budget.left(100.5) == 2
    assert budget.left(90.0) == 2, "a clock that goes back takes nothing away"
    assert budget.left(200.0) == 4


def test_messages_fill_packets_in_order() -> None:
    assert fill_packets([b"aaa", b"bb", b"c", b"ddd"], 5, 9) == ([[b"aaa", b"bb"], [b"c", b"ddd"]], True)
    assert fill_packets([], 5, 9) == ([], True)


def test_when_the_packets_are_full_no_further_message_is_made() -> None:
    made = []

    def messages() -> Iterator[bytes]:
        for number in range(1000):
            made.append(number)
            yield b"abc"

    packets, is_all = fill_packets(messages(), 7, 3)
    assert (packets, is_all) == ([[b"abc", b"abc"]] * 3, False)
    assert len(made) == 7


def test_without_budget_nothing_is_sent() -> None:
    assert fill_packets([b"abc"], 7, 0) == ([], False)
