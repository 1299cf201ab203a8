"""Measurements of a large cluster: idle cost, speed and cost of changes, failure detection time.

The cost of a change is the traffic above what an idle cluster would have sent in the same time.
"""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable

import attrs

from gossipreg.model import Status
from gossipreg_sim.conditions import Cut, Links
from gossipreg_sim.scale.large_cluster import LargeCluster

#: Time in which the traffic of an update is measured (seconds): all transmissions, and the first piggybacked ones.
_SPENT = 3.0

#: Single registrations, of which the median is reported.
_TRIES = 5

#: Killed processes, and silenced hosts, one at a time; the medians are reported.
_DEATHS = 3

#: Registrations in a burst.
BURST = 100


@attrs.frozen
class IdleCost:
    """The cost of a cluster without changes."""

    speed: float  # virtual seconds per second of one core
    packets: float  # per node and second
    bytes: float  # per node and second


@attrs.frozen
class ChangeCost:
    """The time and traffic of a change until all nodes know of it."""

    seconds: float  # until the last node knows
    packets: float  # per node, above the idle cost
    bytes: float


@attrs.frozen
class SizeResult:
    """All measurements at one size. Times are in seconds; None: not measured."""

    nodes: int
    instances: int  # per node
    setup: float  # setup, in seconds of CPU time
    idle: IdleCost
    registration: ChangeCost
    burst: ChangeCost
    join: ChangeCost  # until the new node sees all, and all see it; bytes and packets of the whole cluster
    crash: float  # until the last believes it failed
    silence_avoided: float  # until the last lookup prefers others
    silence_failed: float
    split: float | None  # until each half believes all nodes of the other failed
    heal: float | None  # until all fingerprints are equal, and all nodes believe all alive
    memory: float  # peak MiB of the simulating process, before the split
    took: float  # seconds of CPU time, in total


def measure(nodes: int, instances: int, *, seed: int = 0, idle: float = 5.0, split: bool = True) -> SizeResult:
    """Measure a cluster of ``nodes``. ``idle`` is the duration of the idle measurement (virtual seconds)."""
    began = time.process_time()
    cluster = LargeCluster.converged(nodes, instances, seed)
    setup = time.process_time() - began
    idle_cost = measure_idle(cluster, idle)
    joined = join(cluster, idle_cost)  # first, before any update is piggybacked on probes
    registrations = [registration(cluster, idle_cost, number) for number in range(_TRIES)]
    together = burst(cluster, idle_cost)
    crashes = [crash(cluster, 1 + number) for number in range(_DEATHS)]
    silences = [silence(cluster, 1 + _DEATHS + number) for number in range(_DEATHS)]
    memory = _peak_mebibytes()
    split_times = split_and_heal(cluster) if split else (None, None)
    return SizeResult(
        nodes=nodes,
        instances=instances,
        setup=setup,
        idle=idle_cost,
        registration=ChangeCost(
            statistics.median(cost.seconds for cost in registrations),
            statistics.median(cost.packets for cost in registrations),
            statistics.median(cost.bytes for cost in registrations),
        ),
        burst=together,
        join=joined,
        crash=statistics.median(crashes),
        silence_avoided=statistics.median(avoided for avoided, _ in silences),
        silence_failed=statistics.median(failed for _, failed in silences),
        split=split_times[0],
        heal=split_times[1],
        memory=memory,
        took=time.process_time() - began,
    )


def measure_idle(cluster: LargeCluster, seconds: float) -> IdleCost:
    """Measure the idle cost over ``seconds``."""
    packets, sent = cluster.packets, cluster.bytes
    began = time.process_time()
    cluster.run_for(seconds)
    took = time.process_time() - began
    share = cluster.nodes * seconds
    return IdleCost(seconds / took, (cluster.packets - packets) / share, (cluster.bytes - sent) / share)


def _change_cost(cluster: LargeCluster, idle_cost: IdleCost, tell: Callable[[], float]) -> ChangeCost:
    """Measure the cost per node of the change that ``tell`` makes."""
    packets, sent, began = cluster.packets, cluster.bytes, cluster.world.seconds
    seconds = tell()
    cluster.run_for(max(0.0, _SPENT - seconds))
    share, passed = len(cluster.live_names), cluster.world.seconds - began
    return ChangeCost(
        seconds,
        (cluster.packets - packets) / share - idle_cost.packets * passed,
        (cluster.bytes - sent) / share - idle_cost.bytes * passed,
    )


def registration(cluster: LargeCluster, idle_cost: IdleCost, number: int) -> ChangeCost:
    """Register one more instance at one node."""
    owner = number * 7 % cluster.nodes
    instance = cluster.instance(owner, cluster.instances + number)
    return _change_cost(
        cluster,
        idle_cost,
        lambda: cluster.last_to_see(
            lambda: cluster.cluster.register(f"n{owner}", instance), {instance.id: instance.service}
        ),
    )


def burst(cluster: LargeCluster, idle_cost: IdleCost, count: int = BURST) -> ChangeCost:
    """Register ``count`` instances at once, on distinct nodes as far as possible."""
    fresh = cluster.instances + _TRIES
    new = [(n % cluster.nodes, cluster.instance(n % cluster.nodes, fresh + n // cluster.nodes)) for n in range(count)]

    def begin() -> None:
        for owner, instance in new:
            cluster.cluster.register(f"n{owner}", instance)

    offers = {instance.id: instance.service for _, instance in new}
    return _change_cost(cluster, idle_cost, lambda: cluster.last_to_see(begin, offers))


def join(cluster: LargeCluster, idle_cost: IdleCost) -> ChangeCost:
    """Start one more node, with one seed, and wait until it knows all that its seed does, and all know it."""
    name = f"n{cluster.nodes}"

    def tell() -> float:
        cluster.cluster.start(name, seeds=["n0"])
        return cluster.run_until(cluster.agrees, 30.0)

    cost = _change_cost(cluster, idle_cost, tell)
    return ChangeCost(cost.seconds, cost.packets * len(cluster.live_names), cost.bytes * len(cluster.live_names))


def crash(cluster: LargeCluster, number: int) -> float:
    """Kill a process; return the time until the last node believes it failed."""
    name = f"n{number}"
    others = [other for other in cluster.live_names if other != name]
    cluster.run_for(_SPENT)
    return cluster.last_to_believe(lambda: cluster.cluster.crash(name), {name}, Status.FAILED, others)


def silence(cluster: LargeCluster, number: int) -> tuple[float, float]:
    """Silence a host; return the times until the last lookup avoids it, and until the last node believes it failed."""
    name, service = f"n{number}", cluster.instance(number, 0).service
    others = [other for other in cluster.live_names if other != name]
    cluster.run_for(_SPENT)
    began = cluster.world.seconds
    avoided = cluster.last_to_avoid(lambda: cluster.cluster.crash(name, host=True), name, service)
    cluster.last_to_believe(lambda: None, {name}, Status.FAILED, others)
    return avoided, cluster.world.seconds - began


def split_and_heal(cluster: LargeCluster) -> tuple[float, float]:
    """Split the cluster in halves, then heal it; return the times until each failed the other, and until all agree."""
    names = cluster.live_names
    left, right = names[::2], names[1::2]
    network = cluster.cluster.network
    began = cluster.world.seconds
    cut = Cut(Links(frozenset(left), frozenset(right)))
    cluster.last_to_believe(lambda: network.begin("split", cut), set(right), Status.FAILED, left, 120.0)
    cluster.last_to_believe(lambda: None, set(left), Status.FAILED, right, 120.0)
    split = cluster.world.seconds - began
    began = cluster.world.seconds
    cluster.last_to_believe(lambda: network.end("split"), set(names), Status.ALIVE, names, 120.0)
    cluster.run_until(cluster.agrees, 120.0)
    return split, cluster.world.seconds - began


def _peak_mebibytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
