"""Sweep over sizes: each size is measured in its own process, so that memory and speed are not mixed."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import attrs

from gossipreg_sim.scale.measures import SizeResult, measure
from gossipreg_sim.scale.memory_use import MemoryUse, measure_memory
from gossipreg_sim.scale.one_node import OneNode, measure_one_node
from gossipreg_sim.scale.region_of_cells import RegionResult, measure_region


@attrs.frozen
class Plan:
    """The sizes to measure, and the parameters."""

    nodes: tuple[int, ...] = (64, 128, 256, 512, 1000)
    instances: int = 10  # per node
    split_max: int = 128  # largest size for which a split is measured, because each half detects the other node by node
    seed: int = 0
    cells: int = 1  # of a region, which is then measured instead

    def region(self, nodes: int) -> RegionResult:
        """Measure a region of one size in this process."""
        return measure_region(nodes, self.cells, self.instances, seed=self.seed)

    def one(self, nodes: int) -> SizeResult:
        """Measure one size in this process."""
        return measure(nodes, self.instances, seed=self.seed, split=nodes <= self.split_max)

    def one_node(self) -> OneNode:
        """Measure the work of one node of the largest size."""
        return measure_one_node(max(self.nodes) - 1)

    def memory(self) -> MemoryUse:
        """Measure the memory of one node of the largest size."""
        return measure_memory(max(self.nodes) - 1, self.instances)


DEFAULT: Final = Plan()

#: The largest cluster that is simulated as a whole (nodes): of a larger one, one real node is measured. The whole takes
#: memory and time with the square of its size.
WHOLE_MAX: Final = 2000


def sweep(plan: Plan, progress: Callable[[int, int], None]) -> tuple[list[SizeResult], MemoryUse, OneNode]:
    """Measure all sizes of ``plan`` in order; ``progress`` receives the number of finished sizes, and the total."""
    sizes: Sequence[int] = sorted({nodes for nodes in plan.nodes if nodes <= WHOLE_MAX})
    context = multiprocessing.get_context("spawn")
    measured: list[SizeResult] = []
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for nodes in sizes:
            progress(len(measured), len(sizes))
            measured.append(pool.submit(plan.one, nodes).result())
        if sizes:
            progress(len(measured), len(sizes))
        memory = pool.submit(plan.memory).result()
        return measured, memory, pool.submit(plan.one_node).result()


def sweep_regions(plan: Plan, progress: Callable[[int, int], None]) -> list[RegionResult]:
    """Measure regions of all sizes of ``plan`` in order; ``progress`` as in `sweep`."""
    sizes = sorted(set(plan.nodes))
    context = multiprocessing.get_context("spawn")
    measured: list[RegionResult] = []
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        for nodes in sizes:
            progress(len(measured), len(sizes))
            measured.append(pool.submit(plan.region, nodes).result())
        progress(len(measured), len(sizes))
    return measured
