"""Failures that the fuzzer once found stay fixed; each file is named after its seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gossipreg_sim.runner import run_scenario
from gossipreg_sim.scenario_file import load

FILES = sorted((Path(__file__).parents[1] / "regressions").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_scenario_that_once_failed_is_good(file: Path) -> None:
    seed = int(file.stem.rpartition("-")[2])
    outcome = run_scenario(load(file), seed)
    assert outcome.violations == ()
    assert outcome.is_good, f"healed in {outcome.healed_in} s; the bound is {outcome.bound} s"


def test_there_are_some() -> None:
    assert FILES
