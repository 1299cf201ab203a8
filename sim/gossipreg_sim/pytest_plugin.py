"""A pytest plugin: a fixture runs a scenario from the seed of its case, a marker says from how many seeds.

    @pytest.mark.gossipreg_sim(seeds=50)
    def test_survives_losing_a_zone(gossipreg_sim):
        gossipreg_sim(Scenario(...))

Each seed is a case of its own, so that failures are told apart and cases spread over processes. A project opts in by
`pytest -p gossipreg_sim.pytest_plugin`, or by the same under `addopts` in its settings.
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

#: Seeds of a test that does not say how many.
SEEDS: Final = 10

_FIXTURE: Final = "gossipreg_sim"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let people run one seed again, or more seeds than a test asks for."""
    group = parser.getgroup("gossipreg", "clusters simulated by gossipreg")
    group.addoption("--gossipreg-seed", type=int, metavar="N", help="run only seed N, in every test that simulates")
    group.addoption("--gossipreg-seeds", type=int, metavar="COUNT", help="run so many seeds, whatever the tests say")


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, so that `--strict-markers` accepts it."""
    config.addinivalue_line(
        "markers",
        f"{_FIXTURE}(seeds={SEEDS}): run the test once for each of so many seeds, or of these; "
        f"the fixture of the same name runs scenarios",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a case of each seed."""
    if _FIXTURE in metafunc.fixturenames:
        seeds = _seeds_of(metafunc.definition.get_closest_marker(_FIXTURE), metafunc.config)
        metafunc.parametrize(_FIXTURE, seeds, ids=[f"seed-{seed}" for seed in seeds], indirect=True)
    elif any(marker.name == _FIXTURE for marker in metafunc.definition.own_markers):
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.name}: marked {_FIXTURE}, but runs nothing: take the fixture {_FIXTURE}"
        )


@pytest.fixture
def gossipreg_sim(request: pytest.FixtureRequest) -> Player:
    """Runs scenarios from the seed of this case, and fails the test if one is not good."""
    return Player(request.param, request.node.nodeid)


@attrs.frozen
class Player:
    """Runs scenarios from one seed."""

    seed: int
    _test: str

    def __call__(self, scenario: Scenario | str | Path) -> Outcome:
        """What came of ``scenario``: one made in Python, the name of one that is shipped, or a TOML file.

        Fails the test if anything forbidden happened, if not all agreed in time after the heal, or if the run did not
        show what the scenario is for; `Outcome` lets the test ask for more. Raises ``ScenarioError`` for a scenario
        that cannot be run.
        """
        __tracebackhide__ = True
        from gossipreg_sim.runner import run_scenario  # here, because only tests that simulate need these
        from gossipreg_sim.scenario import Scenario
        from gossipreg_sim.scenario_file import load
        from gossipreg_sim.summary import verdict

        run = scenario if isinstance(scenario, Scenario) else load(scenario)
        outcome = run_scenario(run, self.seed)
        if not outcome.is_good:
            again = f"pytest {shlex.quote(self._test)} --gossipreg-seed {self.seed}"
            told = "\n  ".join(verdict(outcome, again))
            pytest.fail(f"{run.name}, seed {self.seed}: {run.title}\n  {told}", pytrace=False)
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
        raise pytest.Collector.CollectError(f"mark {_FIXTURE}: seeds={said!r} runs nothing: say how many, or which")
    return list(seeds)
