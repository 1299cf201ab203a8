"""The page about differences from a Eureka server is that of a run of today's requests."""

from __future__ import annotations

from tests.peers.eureka.differences import PAGE, Answer, Compared, page
from tests.peers.eureka.requests import REASONS, cases

CASES = cases()
STEPS = [step for case in CASES for step in case.steps]


def test_there_are_requests_enough() -> None:
    assert len(STEPS) > 200


def test_every_reason_is_that_of_a_request_and_on_the_page() -> None:
    text = PAGE.read_text()
    assert {step.reason for step in STEPS} - {""} == set(REASONS)
    assert [key for key, reason in REASONS.items() if reason not in text] == []


def test_the_page_is_of_all_requests_and_has_no_difference_without_a_reason() -> None:
    text = PAGE.read_text()
    accepted = sum(bool(step.reason) for step in STEPS)
    assert f"{len(STEPS)} requests: {len(STEPS) - accepted} answers are the same, {accepted} differ" in text
    assert "reason below, 0 differ without one." in text


def test_a_difference_is_counted_by_its_reason() -> None:
    case = next(case for case in CASES if any(step.reason for step in case.steps))
    step = next(step for step in case.steps if step.reason)
    one, two = Answer(200, "", None), Answer(400, "", None)
    text = page([Compared(case, step, one, two), Compared(case, step, one, one)], "x")
    assert "2 requests: 1 answers are the same, 1 differ for a reason below, 0 differ" in text
    assert f"| {REASONS[step.reason]} | 1 |" in text
