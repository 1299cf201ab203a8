"""Work spread over processes."""

from __future__ import annotations

from gossipreg_sim.reproduce.parallel_runs import Order, work


def square(number: int) -> int:
    return number * number


def test_results_come_in_the_order_of_the_tasks_however_many_work() -> None:
    for jobs in (1, 2):
        told: list[tuple[int, int]] = []

        def progress(done: int, of: int, told: list[tuple[int, int]] = told) -> None:
            told.append((done, of))

        order = Order(ours=False, seed=0, jobs=jobs, command="", progress=progress)
        assert work(square, [3, 1, 2], order) == [9, 1, 4]
        assert told == [(done, 3) for done in range(4)]
