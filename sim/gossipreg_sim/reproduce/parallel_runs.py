"""Parallel runs: independent experiments on several cores, with results in task order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import attrs

Task = TypeVar("Task")
Result = TypeVar("Result")

#: Receives the number of finished runs, and the total.
Progress = Callable[[int, int], None]


@attrs.frozen
class RunOptions:
    """The options common to all experiments."""

    ours: bool  # include this protocol with its defaults
    seed: int
    jobs: int
    command: str  # the command that repeats it
    progress: Progress


def run_all(run: Callable[[Task], Result], tasks: Sequence[Task], order: RunOptions) -> list[Result]:
    """Apply ``run`` to every task, several at a time, and return the results in task order.

    A result depends on its task only, so the number of jobs affects nothing but the time.
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
