"""Consul's own Go client's tests pass against our agent, as the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.suites.classification import read_classification
from tests.peers.suites.consul_api import CLASSIFICATION, PAGE, prepare, run_relevant
from tests.peers.suites.go_module import needs_go
from tests.peers.suites.page import passed_tests
from tests.peers.suites.runs import Outcome


def test_the_page_lists_relevant_tests_only() -> None:
    classifications = read_classification(CLASSIFICATION)
    for classes in classifications.values():
        assert not classes.contradictions()
    relevant = {(package, test) for package, classes in classifications.items() for test in classes.relevant}
    passed = passed_tests(PAGE.read_text())
    assert passed
    assert passed <= relevant


@pytest.mark.peer
@pytest.mark.slow
@needs_go
async def test_what_the_page_says_has_passed_passes(tmp_path: Path) -> None:
    classifications = read_classification(CLASSIFICATION)
    directory = tmp_path / "suite"
    binaries = prepare(directory)
    faults = {package: classifications[package].faults(binary.names()) for package, binary in binaries.items()}
    assert not any(faults.values()), faults
    passed = passed_tests(PAGE.read_text())
    results = await run_relevant(directory, binaries, classifications, lambda *which: which in passed)
    assert not {
        (package, test): result.reason or result.outcome
        for package, of_package in results.items()
        for test, result in of_package.items()
        if result.outcome is not Outcome.PASSED
    }
