"""Parallel runs: independent experiments spread over the cores, with results in the order of the tasks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import attrs

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Told how many runs are done, and of how many.
Progress = Callable[[int, int], None]


@attrs.frozen
class Order:
    """What is asked of an experiment, whichever it is."""

    ours: bool  # this protocol with its defaults, too
    seed: int
    jobs: int
    command: str  # how to have it again
    progress: Progress


def work(run: Callable[[Task], Result], tasks: Sequence[Task], order: Order) -> list[Result]:
    """``run`` on every task, so many at a time; results in the order of the tasks.

    What a run gives hangs on its task only, so that the number of jobs changes nothing but the time.
    """
    progress = order.progress
    progress(0, len(tasks))
    if order.jobs == 1:
        results = []
        for task in tasks:
            results.append(run(task))
            progress(len(results), len(tasks))
        return results
    with ProcessPoolExecutor(order.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(run, task) for task in tasks]
        for done, _ in enumerate(as_completed(futures), start=1):
            progress(done, len(tasks))
        return [future.result() for future in futures]
