"""The Lifeguard experiments, at a small scale."""

from __future__ import annotations

import attrs
import pytest

from gossipreg_sim.reproduce.lifeguard import FULL, QUICK, Grid, Run, reproduce, run_one, runs_of
from gossipreg_sim.reproduce.parallel_runs import RunOptions
from gossipreg_sim.reproduce.profiles import COMPARED, LIFEGUARD, OURS, SWIM, Profile
from gossipreg_sim.reproduce.published import LIFEGUARD_RUNS

ORDER = RunOptions(ours=True, seed=0, jobs=1, command="again", progress=lambda _done, _of: None)

SMALL = Grid(
    members=8,
    anomalous=(2,),
    on=(8.0,),
    off=(0.01,),
    runs=1,
    threshold=((2, 12.0),),
    threshold_runs=1,
    least=16.0,
)


def fp(profile: Profile) -> int:
    return sum(run_one(Run(profile, 12, 4, 12.0, 0.01, 36.0, seed)).fp for seed in range(2))


def test_the_full_grid_is_the_papers() -> None:
    repeated, _ = runs_of(SWIM, FULL, 0)
    assert len(repeated) == LIFEGUARD_RUNS
    assert FULL.members == QUICK.members == 128


@pytest.mark.slow
def test_lifeguard_has_far_fewer_false_positives_than_swim() -> None:
    assert fp(SWIM) > 4 * fp(LIFEGUARD)
    assert fp(OURS) <= fp(LIFEGUARD)


def test_short_blocks_cause_no_failure_reports() -> None:
    outcome = run_one(Run(SWIM, 8, 2, 0.1, 1.0, 10.0, 1))
    assert (outcome.fp, outcome.fp_healthy, outcome.first, outcome.everywhere) == (0, 0, (), ())
    assert outcome.packets > 8 * 2 * 8
    assert outcome.bytes > outcome.packets


def test_one_block_is_detected_after_a_probe_and_a_suspicion() -> None:
    outcome = run_one(Run(SWIM, 8, 2, 12.0, None, 0.0, 1))
    assert len(outcome.first) == len(outcome.everywhere) == 2
    for first, everywhere in zip(outcome.first, outcome.everywhere, strict=True):
        assert 5.0 + 0.5 < first <= everywhere < 5.0 + 6.0


def test_equal_seeds_block_equal_members_in_every_profile() -> None:
    grids = [runs_of(profile, SMALL, 3) for profile in COMPARED]
    alike = [[attrs.evolve(run, profile=SWIM) for run in repeated + single] for repeated, single in grids]
    assert all(each == alike[0] for each in alike)


def test_the_table_has_the_papers_row_below_each_measured_row() -> None:
    main, tuning = reproduce(SMALL, ORDER).tables
    rows = main.document()["rows"]
    assert [row["by"] for row in rows] == ["here", "paper"] * len(COMPARED) + ["here"]
    assert [row["protocol"] for row in rows if row["by"] == "here"] == [*(each.name for each in COMPARED), OURS.name]
    assert rows[1]["FP"] == 339_002
    assert rows[0]["FP"] == run_one(Run(SWIM, 8, 2, 8.0, 0.01, 16.0, 0)).fp
    assert [row[0] for row in tuning.rows] == ["2, 2", "2, 6", "4, 2", "4, 6", "5, 6"]
