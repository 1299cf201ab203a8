"""Region of cells: traffic of a region's nodes, speed of changes within a cell and across borders, and relay duties.

Every node is real and the region is idle from the start, as in `large_cluster`. The cells exchange their heads within
the first seconds.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from random import Random
from typing import Final

import attrs

from gossipreg.protocol.outputs import InstancesChanged, Output
from gossipreg_sim.process import Process
from gossipreg_sim.scale.large_cluster import LargeCluster
from gossipreg_sim.scale.measures import IdleCost, measure_idle
from gossipreg_sim.scale.memory_use import MemoryUse, measure_remote_memory

#: Seconds until the relays have their borders, and each node has heard of each cell.
_QUIET: Final = 10.0

#: How often each node changes one registration of its own in the changing region (seconds).
CHANGE_SECONDS: Final = 600.0

#: Single changes whose times are measured.
_TRIES: Final = 5

#: The longest time that is waited for a change (seconds).
_MOST: Final = 10.0


@attrs.frozen
class RegionResult:
    """All measurements of one region. Times are in seconds."""

    nodes: int
    cells: int
    instances: int  # per node
    idle: IdleCost
    changing: IdleCost  # while each node changes something every `CHANGE_SECONDS`
    own_cell: float  # until the last node of the own cell knows a change: the median
    region: float  # until the last node of the region does
    slowest: float  # the slowest of the measured changes in the region
    duties: tuple[int, ...]  # nodes with no relay duty, with one, with two ...
    memory: MemoryUse  # of one node: what one member of another cell, and one instance there, take
    took: float  # seconds of CPU time


def measure_region(
    nodes: int, cells: int, instances: int, *, seed: int = 0, seconds: float = 10.0, quiet: float = _QUIET
) -> RegionResult:
    """Measure a region of ``nodes`` in ``cells``; ``seconds``: how long the traffic is measured (virtual)."""
    began = time.process_time()
    cluster = LargeCluster.converged(nodes, instances, seed, cells=cells, quiet=quiet)
    idle = measure_idle(cluster, seconds)
    times = [_change(cluster, 7 * number % nodes, number) for number in range(_TRIES)]
    changing = _measure_changing(cluster, seconds, Random(seed))
    return RegionResult(
        nodes=nodes,
        cells=cells,
        instances=instances,
        idle=idle,
        changing=changing,
        own_cell=statistics.median(own for own, _ in times),
        region=statistics.median(region for _, region in times),
        slowest=max(region for _, region in times),
        duties=relay_duties(cluster),
        memory=measure_remote_memory(nodes - nodes // cells, instances, cells - 1),
        took=time.process_time() - began,
    )


def relay_duties(cluster: LargeCluster) -> tuple[int, ...]:
    """How many nodes are a relay to no other cell, to one, to two and so on."""
    counts: Counter[str] = Counter()
    for process in cluster.cluster.alive:
        cells = process.engine.state.cells
        assert cells is not None, "each node of a region has a cell"
        counts[process.name] = sum(process.name in cells.relays(other) for other in cells.others)
    by_count = Counter(counts.values())
    return tuple(by_count[number] for number in range(max(by_count) + 1))


def _change(cluster: LargeCluster, owner: int, number: int) -> tuple[float, float]:
    """Register one more instance: the times until the last node of its owner's cell has it, and of the region."""
    cluster.run_for(1.0 + number / 10)
    instance = cluster.instance(owner, cluster.instances + number)
    began, seen = cluster.world.seconds, dict[str, float]()

    def see(process: Process, output: Output) -> None:
        if isinstance(output, InstancesChanged) and instance.service in output.services and process.name not in seen:
            view = process.engine.view.service(instance.service)
            if any(each.id == instance.id for each in view.instances):
                seen[process.name] = cluster.world.seconds - began

    stop = cluster.watch(see)
    try:
        cluster.cluster.register(f"n{owner}", instance)
        cluster.run_until(lambda: len(seen) == len(cluster.live_names), _MOST)
    finally:
        stop()
    cell = cluster.cell_of(owner)
    own = max(at for name, at in seen.items() if cluster.cell_of(int(name[1:])) == cell)
    return own, max(seen.values())


def _measure_changing(cluster: LargeCluster, seconds: float, rng: Random) -> IdleCost:
    """Measure the traffic while nodes change what they have registered, one after the other at random."""
    packets, sent, began = cluster.packets, cluster.bytes, time.process_time()
    start, end = cluster.world.seconds, cluster.world.seconds + seconds
    count = 0
    while (left := end - cluster.world.seconds) > 0:
        pause = rng.expovariate(cluster.nodes / CHANGE_SECONDS)
        cluster.run_for(min(pause, left))
        if pause < left:
            owner, count = rng.randrange(cluster.nodes), count + 1
            changed = attrs.evolve(cluster.instance(owner, 0), meta={"change": str(count)})
            cluster.cluster.register(f"n{owner}", changed)
    passed = cluster.world.seconds - start
    share = cluster.nodes * passed
    took = time.process_time() - began
    return IdleCost(passed / took, (cluster.packets - packets) / share, (cluster.bytes - sent) / share)
