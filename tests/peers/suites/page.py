"""The page of a suite: what of it is relevant, passed, failed or not applicable, made from a run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tests.peers.suites.classification import Classification
from tests.peers.suites.runs import Outcome, Result

#: Heads the list of tests that passed, which later runs are held to.
_PASSED: Final = "## Passed"

Results = Mapping[str, Mapping[str, Result]]  # package -> test -> result


def make_page(introduction: str, classifications: Mapping[str, Classification], results: Results) -> str:
    """The page in Markdown, from the results of the relevant tests of every package."""
    parts = [introduction.rstrip(), _totals(classifications, results)]
    parts += ["## Failed, and why", _failed(classifications, results)]
    parts += ["## Not applicable, and why", _not_applicable(classifications)]
    parts += [_PASSED, _passed(classifications, results)]
    return "\n\n".join(parts) + "\n"


def passed_tests(page: str) -> set[tuple[str, str]]:
    """The package and the name of every test that the page says has passed."""
    rows = page.partition(f"\n{_PASSED}\n")[2].splitlines()
    found = set()
    for row in rows:
        match row.strip("| ").split(" | "):
            case [package, _, tests] if package.startswith("`"):
                found |= {(package.strip("`"), test) for test in re.findall(r"`([^`]+)`", tests)}
    return found


def _count(results: Mapping[str, Result], outcome: Outcome) -> int:
    return sum(result.outcome is outcome for result in results.values())


def _totals(classifications: Mapping[str, Classification], results: Results) -> str:
    lines = ["| package | tests | relevant | passed | failed | not applicable |", "|---|---|---|---|---|---|"]
    total = [0, 0, 0, 0, 0]
    for package, classes in classifications.items():
        relevant, foreign = len(classes.relevant), len(classes.not_applicable)
        passed = _count(results[package], Outcome.PASSED)
        numbers = [relevant + foreign, relevant, passed, relevant - passed, foreign]
        total = [a + b for a, b in zip(total, numbers, strict=True)]
        lines.append(f"| `{package}` | {' | '.join(map(str, numbers))} |")
    lines.append(f"| all | {' | '.join(map(str, total))} |")
    share = 100 * total[2] / total[1]
    return "\n".join([*lines, "", f"Of the relevant tests, {total[2]} of {total[1]} pass: {share:.0f} %."])


def _failed(classifications: Mapping[str, Classification], results: Results) -> str:
    rows = []
    for package, classes in classifications.items():
        for test, result in sorted(results[package].items()):
            if result.outcome is not Outcome.PASSED:
                why = classes.failures.get(test) or result.reason or result.outcome
                rows.append(f"| `{package}` | `{test}` | {_cell(why)} |")
    return "\n".join(["| package | test | why |", "|---|---|---|", *rows]) if rows else "None."


def _not_applicable(classifications: Mapping[str, Classification]) -> str:
    rows = []
    for package, classes in classifications.items():
        for reason, tests in _grouped(classes.not_applicable).items():
            rows.append(f"| `{package}` | {len(tests)} | {_cell(reason)} | {_names(tests)} |")
    return "\n".join(["| package | tests | why | which |", "|---|---|---|---|", *rows])


def _passed(classifications: Mapping[str, Classification], results: Results) -> str:
    rows = []
    for package, classes in classifications.items():
        for about, tests in _grouped(classes.relevant).items():
            passed = [test for test in tests if results[package][test].outcome is Outcome.PASSED]
            if passed:
                rows.append(f"| `{package}` | {_cell(about)} | {_names(passed)} |")
    return "\n".join(["| package | about | tests |", "|---|---|---|", *rows])


def _grouped(reasons: Mapping[str, str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for test, reason in reasons.items():
        groups.setdefault(reason, []).append(test)
    return groups


def _names(tests: list[str]) -> str:
    return ", ".join(f"`{test}`" for test in tests)


def _cell(text: str) -> str:
    """Text for a cell of a table: no bars, and nothing that would be taken for a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")
