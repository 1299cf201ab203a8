"""The classification of a suite's tests names each once, and a run is read and shown as it was."""

from __future__ import annotations

from tests.peers.suites.classification import Classification
from tests.peers.suites.page import make_page, passed_tests
from tests.peers.suites.runs import Outcome, Result, read_output

_TABLE = {
    "relevant": [{"about": "health", "tests": ["TestA", "TestB"]}],
    "not_applicable": [{"reason": "a store", "tests": ["TestKV"]}],
    "failures": [{"reason": "there are no Docker checks", "tests": ["TestB"]}],
    "needing_a_service": ["TestA"],
}

_RESULTS = {"api": {"TestA": Result(Outcome.PASSED), "TestB": Result(Outcome.FAILED, "400")}}


def test_a_new_test_and_one_that_is_gone_are_faults() -> None:
    assert Classification.of(_TABLE).faults(["TestA", "TestKV", "TestNew"]) == [
        "TestNew is not classified",
        "TestB does not exist",
    ]


def test_a_test_is_relevant_or_not() -> None:
    table = {**_TABLE, "not_applicable": [{"reason": "a store", "tests": ["TestA"]}], "needing_a_service": ["TestC"]}
    assert Classification.of(table).contradictions() == [
        "TestA is relevant and not applicable",
        "TestC is not among the relevant",
    ]


def test_the_page_tells_what_passed_and_why_the_rest_did_not() -> None:
    page = make_page("# A suite\n", {"api": Classification.of(_TABLE)}, _RESULTS)
    assert "| `api` | 3 | 2 | 1 | 1 | 1 |" in page
    assert "1 of 2 pass: 50 %" in page
    assert "| `api` | `TestB` | there are no Docker checks |" in page
    assert "| `api` | 1 | a store | `TestKV` |" in page
    assert passed_tests(page) == {("api", "TestA")}


def test_what_a_failed_test_said_is_its_reason() -> None:
    output = "=== RUN TestA\n    a_test.go:12: err: code 501\n--- FAIL: TestA (0.1s)\n"
    assert read_output("TestA", 1, output) == Result(Outcome.FAILED, "err: code 501")


def test_what_a_failed_test_compared_is_its_reason() -> None:
    output = "    a_test.go:12: \n        \tError Trace:\t/x/a_test.go:12\n        \tError:      \tNot equal: \n"
    assert read_output("TestA", 1, output) == Result(Outcome.FAILED, "Not equal:")


def test_a_panic_is_its_reason() -> None:
    assert read_output("TestA", 2, "panic: nil is no string\n\ngoroutine 1\n").reason == "panic: nil is no string"


def test_a_test_that_was_skipped_or_not_run_has_not_passed() -> None:
    assert read_output("TestA", 0, "--- SKIP: TestA (0.00s)\nPASS\n").outcome is Outcome.SKIPPED
    assert read_output("TestA", 0, "testing: warning: no tests to run\nPASS\n").outcome is Outcome.FAILED
    assert read_output("TestA", 0, "--- PASS: TestA (0.10s)\nPASS\n").outcome is Outcome.PASSED
