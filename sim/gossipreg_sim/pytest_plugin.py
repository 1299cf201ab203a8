"""Pytest plugin: a fixture that runs scenarios from the seed of each test case, and a marker for the number of seeds.

    @pytest.mark.gossipreg_sim(seeds=50)
    def test_survives_losing_a_zone(gossipreg_sim):
        gossipreg_sim(Scenario(...))

Each seed is a test case of its own, so that failures are reported separately and cases run in parallel. A project opts
in with `pytest -p gossipreg_sim.pytest_plugin`, or with the same option in `addopts`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import pytest

if TYPE_CHECKING:
    from gossipreg_sim.runner import Outcome
    from gossipreg_sim.scenario import Scenario

#: Seeds of a test whose marker does not state any.
SEEDS: Final = 10

_FIXTURE: Final = "gossipreg_sim"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options for running one seed, or another number of seeds."""
    group = parser.getgroup("gossipreg", "clusters simulated by gossipreg")
    group.addoption("--gossipreg-seed", type=int, metavar="N", help="run only seed N, in every test that simulates")
    group.addoption("--gossipreg-seeds", type=int, metavar="COUNT", help="run COUNT seeds in every test that simulates")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, so that `--strict-markers` accepts it."""
    config.addinivalue_line(
        "markers",
        f"{_FIXTURE}(seeds={SEEDS}): run the test once per seed, for this many seeds or these ones; "
        f"the fixture of the same name runs scenarios",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test case per seed."""
    if _FIXTURE in metafunc.fixturenames:
        seeds = _seeds_of(metafunc.definition.get_closest_marker(_FIXTURE), metafunc.config)
        metafunc.parametrize(_FIXTURE, seeds, ids=[f"seed-{seed}" for seed in seeds], indirect=True)
    elif any(marker.name == _FIXTURE for marker in metafunc.definition.own_markers):
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.name}: marked {_FIXTURE}, but does not use the fixture {_FIXTURE}"
        )


@pytest.fixture
def gossipreg_sim(request: pytest.FixtureRequest) -> ScenarioRunner:
    """Run scenarios from the seed of this case; a bad outcome fails the test."""
    return ScenarioRunner(request.param, request.node.nodeid)


@attrs.frozen
class ScenarioRunner:
    """Runs scenarios from one seed."""

    seed: int
    _test: str

    def __call__(self, scenario: Scenario | str | Path) -> Outcome:
        """Run ``scenario``: a `Scenario`, the name of a shipped one, or the path of a TOML file.

        Fails the test if an oracle reports a violation, if the nodes do not agree in time after the heal, or if the run
        misses a mark of ``sometimes``; the test can check more in the `Outcome`. Raises ``ScenarioError`` for an
        invalid scenario.
        """
        __tracebackhide__ = True
        from gossipreg_sim.runner import run_scenario  # needed only by tests that simulate
        from gossipreg_sim.scenario import Scenario
        from gossipreg_sim.scenario_file import load
        from gossipreg_sim.summary import result_lines

        run = scenario if isinstance(scenario, Scenario) else load(scenario)
        outcome = run_scenario(run, self.seed)
        if not outcome.is_good:
            again = f"pytest {shlex.quote(self._test)} --gossipreg-seed {self.seed}"
            text = "\n  ".join(result_lines(outcome, again))
            pytest.fail(f"{run.name}, seed {self.seed}: {run.title}\n  {text}", pytrace=False)
        return outcome


def _seeds_of(marker: pytest.Mark | None, config: pytest.Config) -> list[int]:
    only, many = config.getoption("--gossipreg-seed"), config.getoption("--gossipreg-seeds")
    said = marker.kwargs.get("seeds", SEEDS) if marker is not None else SEEDS
    if marker is not None and (marker.args or not {"seeds"} >= marker.kwargs.keys()):
        raise pytest.Collector.CollectError(f"mark {_FIXTURE}: write {_FIXTURE}(seeds=50), or {_FIXTURE}(seeds=[3, 7])")
    if only is not None:
        return [only]
    seeds = range(many or said) if isinstance(many or said, int) else said
    if not isinstance(seeds, Iterable) or not list(seeds):
        raise pytest.Collector.CollectError(
            f"mark {_FIXTURE}: seeds={said!r} selects no seed: write a number or a list"
        )
    return list(seeds)
