"""py-consul's own tests pass against our agent, as the page says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.peers.suites.classification import read_classification
from tests.peers.suites.page import passed_tests
from tests.peers.suites.py_consul import CLASSIFICATION, PACKAGE, PAGE, prepare, read_report
from tests.peers.suites.runs import Outcome, Result


def _missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


def test_the_page_lists_relevant_tests_only() -> None:
    classes = read_classification(CLASSIFICATION)[PACKAGE]
    assert not classes.contradictions()
    passed = passed_tests(PAGE.read_text())
    assert passed
    assert passed <= {(PACKAGE, test) for test in classes.relevant}


def test_of_several_parameters_the_worst_counts(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    of_agent = 'testcase classname="tests.api.test_agent.TestAgent"'
    report.write_text(
        f"""<testsuites>
          <{of_agent} name="test_a[one]"><failure message="no&#10;x"/></testcase>
          <{of_agent} name="test_a[two]"/>
          <{of_agent} name="test_b"/>
        </testsuites>"""
    )
    assert read_report(report, ["test_agent.test_a", "test_agent.test_b", "test_agent.test_c"]) == {
        "test_agent.test_a": Result(Outcome.FAILED, "no"),
        "test_agent.test_b": Result(Outcome.PASSED),
        "test_agent.test_c": Result(Outcome.FAILED, "it was not run"),
    }


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.skipif(
    _missing("consul") or _missing("aiohttp"), reason="py-consul or aiohttp is not installed (PyPI: py-consul aiohttp)"
)
def test_what_the_page_says_has_passed_passes(tmp_path: Path) -> None:
    classes = read_classification(CLASSIFICATION)[PACKAGE]
    suite = prepare(tmp_path / "suite")
    ids = suite.collect()
    assert not classes.faults(ids)
    results = suite.run(ids, sorted(test for _, test in passed_tests(PAGE.read_text())))
    assert not {test: result for test, result in results.items() if result.outcome is not Outcome.PASSED}
