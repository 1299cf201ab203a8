"""A failing seed leaves a scenario file that fails in the same way, and the command that runs it."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from gossipreg_sim.fault import Fault
from gossipreg_sim.fuzz.failures import Failure, FailuresError, directory
from gossipreg_sim.fuzz.generation import GeneratedScenario, generated
from gossipreg_sim.fuzz.run_result import RunResult, run_and_check
from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario_file import load
from tests.sim.making import scenario

#: A cluster without time to agree after the heal.
HASTY = scenario(
    Fault(kind="cut", nodes=("n3",)),
    Fault(kind="reorder", probability=0.1),
    name="fuzz-7",
    zones=2,
    quiet=0.0,
)


def failure() -> Failure:
    return Failure(7, GeneratedScenario(HASTY, off=("loss", "crash")), run_and_check(HASTY, 7))


def test_the_report_lists_the_whole_scenario_and_the_disabled_kinds() -> None:
    lines = failure().as_lines(Path("out here"))
    assert lines[0].startswith("seed 7 fails: ")
    assert "  disabled loss, crash" in lines
    assert '  fault    kind = "cut", name = "cut-1", nodes = ["n3"]' in lines
    assert lines[-1] == "again: gossipreg sim run 'out here/fuzz-7.toml' --seed 7"


@pytest.mark.parametrize("seed", range(12))
def test_every_generated_scenario_can_be_reported(seed: int) -> None:
    lines = Failure(seed, generated(seed), RunResult.without_trace("MonotonicBeliefs", "wrong")).as_lines(Path("out"))
    assert any(line.startswith("  settings ") for line in lines)


def test_its_document_is_json() -> None:
    document = json.loads(json.dumps(failure().as_document(Path("out"))))
    assert document["disabled"] == ["loss", "crash"]
    assert document["command"] == "gossipreg sim run out/fuzz-7.toml --seed 7"
    assert document["faults"][0] == {"kind": "cut", "name": "cut-1", "nodes": ["n3"]}


def test_the_file_holds_the_scenario_and_runs_the_same(tmp_path: Path) -> None:
    path = failure().written(tmp_path)
    assert path.read_text().startswith("# Fails with seed 7: ")
    assert load(path) == attrs.evolve(HASTY, name="fuzz-7")
    assert run_scenario(load(path), 7).digest == failure().result.digest


def test_the_shrunk_scenario_fails_in_the_same_way(tmp_path: Path) -> None:
    small = failure().shrunk(runs=40, seconds=20.0)
    path = failure().written(tmp_path, small)
    assert len(small.faults) < 2
    assert small.nodes < HASTY.nodes
    assert failure().result.wrong[0] in run_and_check(load(path), 7).wrong


def test_a_run_that_raises_is_reported_with_its_scenario() -> None:
    made = Failure(
        3, generated(3), RunResult.without_trace("ValueError in some.py place", "ValueError: no (some.py:3)")
    )
    assert made.as_lines(Path())[0] == "seed 3 fails: ValueError in some.py place: ValueError: no (some.py:3)"


def test_an_unusable_directory_is_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailuresError, match=r"^cannot make .*: pass --out another directory$"):
        directory(tmp_path / "file")
    assert directory(tmp_path / "new" / "one").is_dir()
