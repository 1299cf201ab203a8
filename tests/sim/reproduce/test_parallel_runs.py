"""Experiments in parallel processes."""

from __future__ import annotations

from gossipreg_sim.reproduce.parallel_runs import RunOptions, run_all


def square(number: int) -> int:
    return number * number


def test_results_are_in_task_order_for_any_number_of_jobs() -> None:
    for jobs in (1, 2):
        counts: list[tuple[int, int]] = []

        def progress(done: int, of: int, counts: list[tuple[int, int]] = counts) -> None:
            counts.append((done, of))

        order = RunOptions(ours=False, seed=0, jobs=jobs, command="", progress=progress)
        assert run_all(square, [3, 1, 2], order) == [9, 1, 4]
        assert counts == [(done, 3) for done in range(4)]
