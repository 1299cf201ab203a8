"""Sweep over sizes: each is measured in a process of its own, so that its memory and speed are its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import attrs

from gossipreg_sim.scale.measures import Sizes, measure
from gossipreg_sim.scale.memory_use import MemoryUse, measure_memory


@attrs.frozen
class Plan:
    """What is measured."""

    nodes: tuple[int, ...] = (64, 128, 256, 512, 1000)
    instances: int = 10  # of each node
    split_max: int = 128  # nodes up to which a split is run: each half hears of the other, node by node
    seed: int = 0

    def one(self, nodes: int) -> Sizes:
        """Measure one size, here."""
        return measure(nodes, self.instances, seed=self.seed, split=nodes <= self.split_max)

    def weight(self) -> MemoryUse:
        """Weigh one node of the largest size."""
        return measure_memory(max(self.nodes) - 1, self.instances)


DEFAULT: Final = Plan()


def sweep(plan: Plan, progress: Callable[[int, int], None]) -> tuple[list[Sizes], MemoryUse]:
    """Measure all sizes of ``plan``, one after the other; ``progress`` is told how many are done, and of how many."""
    sizes: Sequence[int] = sorted(set(plan.nodes))
    context = multiprocessing.get_context("spawn")
    measured: list[Sizes] = []
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for nodes in sizes:
            progress(len(measured), len(sizes))
            measured.append(pool.submit(plan.one, nodes).result())
        progress(len(measured), len(sizes))
        return measured, pool.submit(plan.weight).result()
