"""A sweep sums up its runs, independent of workers and order."""

from __future__ import annotations

from itertools import islice

import pytest

from gossipreg_sim.fault import KINDS
from gossipreg_sim.fuzz.generation import generated
from gossipreg_sim.fuzz.run_result import RunResult, result_of
from gossipreg_sim.fuzz.sweep import SOMETIMES, Sweep, seeds_from
from tests.sim.fuzz.working import plain


def swept(*seeds: int) -> Sweep:
    made = Sweep()
    for seed in seeds:
        made.add(seed, plain(seed))
    return made


def test_the_number_of_seeds_is_as_requested() -> None:
    assert list(seeds_from(7, 3, None)) == [7, 8, 9]
    assert list(islice(seeds_from(7, None, 60.0), 3)) == [7, 8, 9]


def test_no_seed_starts_after_the_time_limit() -> None:
    assert list(seeds_from(7, 3, -1.0)) == []


def test_the_hash_of_all_traces_does_not_depend_on_their_order() -> None:
    assert swept(1, 2, 3).digest == swept(3, 1, 2).digest
    assert swept(1, 2, 3).digest != swept(1, 2).digest


def test_the_hash_of_all_traces_changes_with_any_trace() -> None:
    other = swept(1, 2)
    other.add(3, RunResult(digest="otherwise"))
    assert other.digest != swept(1, 2, 3).digest


def test_every_generated_fault_is_counted() -> None:
    sweep = swept(*range(20))
    assert sum(sweep.kinds.values()) == sum(len(generated(seed).scenario.faults) for seed in range(20))


def test_a_mark_that_no_run_reached_is_listed() -> None:
    sweep = swept(1, 2)
    assert sweep.marks["alive"] == 2
    assert sweep.never == [mark for mark in SOMETIMES if mark != "alive"]
    assert f"never      {', '.join(sweep.never)}" in sweep.as_lines()


def test_the_runs_to_which_each_oracle_applied_are_counted() -> None:
    sweep = Sweep()
    for seed in range(20):
        sweep.add(seed, RunResult(digest="", applied={"MonotonicBeliefs": True, "Brandnew": seed == 7}))
    assert sweep.shares == {"MonotonicBeliefs": 1.0, "Brandnew": 0.05}
    lines = list(sweep.as_lines())
    assert "oracles    MonotonicBeliefs applied in      20 runs, 100%" in lines
    assert "           Brandnew         applied in       1 runs,   5%, rare: less than 10%" in lines
    assert sweep.as_document()["oracles"]["Brandnew"] == {"applied": 1, "share": 0.05}


def test_the_rate_is_per_core() -> None:
    assert round(swept(1, 2).per_core) == 10
    assert Sweep().per_core == 0.0


def test_failures_are_counted() -> None:
    sweep = swept(1)
    sweep.add(5, RunResult.without_trace("slow run", "took longer than 60 s"))
    assert sweep.failures == [5]
    assert "failures   1" in sweep.as_lines()
    assert sweep.as_document()["good"] is False
    assert list(sweep.as_document()["faults"]) == list(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize(("nodes", "cells", "seeds"), [((2, 2), False, 40), ((4, 12), True, 25)])
def test_pairs_and_cells_which_few_seeds_draw_are_good_as_well(nodes: tuple[int, int], cells: bool, seeds: int) -> None:
    bad = {seed: result.detail for seed in range(seeds) if (result := result_of(seed, nodes, cells=cells)).wrong}
    assert bad == {}
