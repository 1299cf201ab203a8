"""Shrinking makes a failing scenario smaller as long as it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import gossipreg_sim
from gossipreg_sim.fault import Fault
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.shrinking import shrunk
from gossipreg_sim.scenario import Scenario, Wiring, Workload

LARGE = Scenario(
    name="large",
    title="Large",
    nodes=12,
    zones=3,
    seeds=3,
    together=False,
    warmup=6.0,
    duration=40.0,
    sealed=True,
    wiring=Wiring(kind="exponential", mean=0.02),
    workload=Workload(instances=3, churn=2.0, policies=1.0, primaries=0.5),
    faults=(
        Fault(kind="cut", at=3.0, lasts=10.0, nodes=("n1", "n2"), to=("n7",)),
        Fault(kind="crash", at=8.5, lasts=5.0, nodes=("n4", "n5", "n11")),
        Fault(kind="loss", probability=0.3),
        Fault(kind="freeze", nodes=("n4",), off=5.0),
    ),
)


def kinds(scenario: Scenario) -> set[str]:
    return {fault.kind for fault in scenario.faults}


def test_an_unconditional_failure_shrinks_to_one_node_without_faults() -> None:
    small = shrunk(LARGE, lambda _: True)
    assert (small.nodes, small.zones, small.seeds, small.faults) == (1, 1, 1, ())
    assert (small.together, small.sealed, small.wiring, small.workload) == (
        True,
        False,
        Wiring(),
        Workload(instances=0),
    )
    assert (small.name, small.title, small.settings, small.quiet) == ("large", "Large", LARGE.settings, LARGE.quiet)


@pytest.mark.slow
def test_only_what_the_failure_needs_remains() -> None:
    def fails(scenario: Scenario) -> bool:
        return {"crash", "cut"} <= kinds(scenario) and scenario.nodes >= 9 and scenario.sealed

    small = shrunk(LARGE, fails)
    assert fails(small)
    assert kinds(small) == {"crash", "cut"}
    assert small.nodes == 9
    [cut, crash] = small.faults
    assert (cut.name, cut.at, cut.lasts, cut.to) == ("cut-1", 0.0, 1.0, ("n7",))
    assert (crash.at, crash.lasts, len(crash.nodes), len(cut.nodes)) == (0.0, 1.0, 1, 1)
    assert (small.warmup, small.duration) == (0.0, 1.0)


@pytest.mark.slow
def test_a_time_that_matters_is_kept() -> None:
    def fails(scenario: Scenario) -> bool:
        return any(fault.kind == "crash" and fault.at + fault.lasts > 12 for fault in scenario.faults)

    small = shrunk(LARGE, fails)
    [crash] = small.faults
    assert 12 < crash.at + crash.lasts <= 13.5
    assert crash.at < small.duration


@pytest.mark.slow
def test_a_minimal_scenario_is_returned_unchanged() -> None:
    assert shrunk(LARGE, lambda scenario: scenario == LARGE) == LARGE


@pytest.mark.slow
def test_the_search_ends_after_its_number_of_runs() -> None:
    asked: list[Scenario] = []

    def fails(scenario: Scenario) -> bool:
        asked.append(scenario)
        return "freeze" in kinds(scenario)

    small = shrunk(LARGE, fails, runs=5)
    assert len(asked) == 5
    assert "freeze" in kinds(small)


@pytest.mark.slow
def test_the_search_ends_at_its_time_limit() -> None:
    def fails(_: Scenario) -> bool:
        pytest.fail("there was no time for a run")

    assert shrunk(LARGE, fails, seconds=-1.0) == LARGE


def test_no_scenario_is_run_twice() -> None:
    asked: list[Scenario] = []

    def fails(scenario: Scenario) -> bool:
        asked.append(scenario)
        return "cut" in kinds(scenario)

    shrunk(LARGE, fails)
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("seed", range(4))
def test_every_generated_scenario_can_be_shrunk(seed: int) -> None:
    scenario = generated(seed).scenario
    kind = scenario.faults[0].kind
    small = shrunk(scenario, lambda candidate: kind in kinds(candidate))
    assert len(small.faults) == 1


@pytest.mark.parametrize("seed", range(4))
def test_every_scenario_of_cells_can_be_shrunk_also_to_one_without(seed: int) -> None:
    scenario = generated(seed, cells=True, nodes=(4, 12)).scenario
    assert shrunk(scenario, lambda candidate: bool(candidate.faults)).cells == 1
    assert shrunk(scenario, lambda candidate: candidate.cells > 1).faults == ()


def test_hypothesis_is_imported_only_for_shrinking() -> None:
    script = "import sys, gossipreg_sim.fuzz.failures, gossipreg_sim.fuzz.pool; sys.exit('hypothesis' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(gossipreg_sim.__file__).parents[2])
