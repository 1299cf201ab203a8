"""Scenarios in a project's own tests: a marker and a fixture, one test case per seed, and reproducible failures."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.sim.simulator_page import PAGE

pytest_plugins = ["pytester"]

Run = Callable[..., pytest.RunResult]

SHORT = """
import pytest
from gossipreg_sim import Fault, Scenario

def scenario(**parts):
    return Scenario(title="Short", nodes=3, warmup=2, duration=2, **parts)
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Write a test file that starts with `SHORT`, and run it without other plugins."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_it(text: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_mine=SHORT + text)
        return pytester.runpytest("-p", "gossipreg_sim.pytest_plugin", "--strict-markers", *options)

    return run_it


def cases(result: pytest.RunResult) -> list[str]:
    return re.findall(r"^test_mine\.py::(\S+) PASSED", result.stdout.str(), re.MULTILINE)


def test_each_seed_is_a_test_case(run: Run) -> None:
    result = run(
        """
@pytest.mark.gossipreg_sim(seeds=3)
def test_it(gossipreg_sim):
    outcome = gossipreg_sim(scenario())
    assert outcome.seed == gossipreg_sim.seed
    assert outcome.is_good
""",
        "-v",
    )
    assert cases(result) == ["test_it[seed-0]", "test_it[seed-1]", "test_it[seed-2]"]


def test_seeds_can_be_listed(run: Run) -> None:
    result = run("@pytest.mark.gossipreg_sim(seeds=[7, 4])\ndef test_it(gossipreg_sim): pass", "-v")
    assert cases(result) == ["test_it[seed-7]", "test_it[seed-4]"]


def test_ten_seeds_are_the_default(run: Run) -> None:
    assert len(cases(run("def test_it(gossipreg_sim): pass", "-v"))) == 10


def test_options_select_one_seed_or_a_number_of_seeds(run: Run) -> None:
    text = "@pytest.mark.gossipreg_sim(seeds=2)\ndef test_it(gossipreg_sim): pass"
    assert cases(run(text, "-v", "--gossipreg-seed", "41")) == ["test_it[seed-41]"]
    assert len(cases(run(text, "-v", "--gossipreg-seeds", "5"))) == 5


def test_a_failure_shows_the_problem_and_the_command_to_repeat_it(run: Run) -> None:
    text = """
@pytest.mark.gossipreg_sim(seeds=[5])
@pytest.mark.parametrize("mark", ["failed"])
def test_it(gossipreg_sim, mark):
    gossipreg_sim(scenario(name="mine", sometimes=[mark]))
"""
    result = run(text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "mine, seed 5: Short",
            "  vacuous: the run did not reach failed, which its scenario requires",
            "  again: pytest 'test_mine.py::test_it[[]seed-5-failed]' --gossipreg-seed 5",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    again = re.search(r"again: pytest '(.*)' (--.*) (\d+)", result.stdout.str())
    assert again is not None
    run(text, again[1], again[2], again[3]).assert_outcomes(failed=1)


def test_a_scenario_may_be_a_file_or_a_shipped_one(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", mine='title = "Mine"\nnodes = 2\nwarmup = 1\nduration = 1\n')
    result = run(
        """
@pytest.mark.gossipreg_sim(seeds=1)
def test_it(gossipreg_sim):
    assert gossipreg_sim("mine.toml").scenario.name == "mine"
    assert gossipreg_sim("cold-start").scenario.nodes == 16
"""
    )
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("(seeds=0)\ndef test_it(gossipreg_sim)", "gossipreg_sim: seeds=0 selects no seed: write a number or a list"),
        ("(50)\ndef test_it(gossipreg_sim)", "write gossipreg_sim(seeds=50), or gossipreg_sim(seeds=[3, 7])"),
        ("(seed=5)\ndef test_it(gossipreg_sim)", "write gossipreg_sim(seeds=50), or gossipreg_sim(seeds=[3, 7])"),
        ("\ndef test_it()", "test_it: marked gossipreg_sim, but does not use the fixture gossipreg_sim"),
    ],
)
def test_a_mistake_in_the_marker_is_one_line(run: Run, text: str, sentence: str) -> None:
    result = run(f"@pytest.mark.gossipreg_sim{text}: pass\n")
    result.assert_outcomes(errors=1)
    assert sentence in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_the_marker_on_a_class_does_not_affect_other_tests(run: Run) -> None:
    result = run(
        """
@pytest.mark.gossipreg_sim(seeds=2)
class TestMine:
    def test_it(self, gossipreg_sim): pass
    def test_other(self): pass
"""
    )
    result.assert_outcomes(passed=3)


def test_a_suite_that_does_not_simulate_imports_nothing() -> None:
    script = """
import sys, gossipreg_sim.pytest_plugin
heavy = {name for name in sys.modules if name.split(".")[0] in ("gossipreg", "msgpack", "cryptography", "trio")}
lazy = {f"gossipreg_sim.{name}" for name in ("cluster", "scenario", "run")}
assert not heavy and not lazy & sys.modules.keys(), heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def example() -> str:
    """Return the first example of the section on a project's own tests."""
    section = PAGE.read_text().partition("## In your own tests\n")[2].partition("\n## ")[0]
    [found, *_] = re.findall(r"^```python\n(.*?)^```", section, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_example_in_the_documentation_is_good(run: Run) -> None:
    run(example(), "--gossipreg-seeds", "2").assert_outcomes(passed=2)


def test_the_example_in_the_documentation_fails_if_the_zone_returns_too_late(run: Run) -> None:
    """Even if all nodes agree long before the end of the run."""
    dark, cut = 'kind="crash-host", nodes="zone:zone-2"', 'kind="cut", nodes="zone:zone-2"'
    slow, hasty = "Settings(reconnect_interval=100, join_retry_max=100, ", "Settings("
    text = example().replace(dark, cut).replace(hasty, slow).replace("duration=40", "duration=90")
    text = re.sub(r"    failed = .*\n    assert failed == .*\n", "", text)
    assert text.count(cut) == text.count(slow) == text.count("duration=90") == text.count("assert") == 1
    result = run(text, "--gossipreg-seed", "1")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"E +AssertionError: counted from when the zone had power again.*"])
