"""Measurements of a large cluster: cost at rest, speed and cost of changes, time to detect failures.

Costs of news are what was sent above what the same time at rest would have cost.
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

#: Time for all transmissions of an update, and the first piggybacked ones, before its cost is measured (seconds).
_SPENT = 3.0

#: Single registrations whose median is told.
_TRIES = 5

#: Processes that are killed, and hosts that fall silent, one at a time; the median is told.
_DEATHS = 3

#: Registrations in a burst.
BURST = 100


@attrs.frozen
class Rest:
    """What a cluster costs at which nothing happens."""

    speed: float  # virtual seconds in each second of one core
    packets: float  # a node and second
    bytes: float  # a node and second


@attrs.frozen
class News:
    """What it took to tell everybody."""

    seconds: float  # to the last node
    packets: float  # a node, above what rest costs
    bytes: float


@attrs.frozen
class Sizes:
    """All that is measured at one size. Times are in seconds; None is what was not measured."""

    nodes: int
    instances: int  # of each node
    gathered: float  # seconds of the processor
    rest: Rest
    registration: News
    burst: News
    join: News  # the newcomer sees all, and all see it; bytes and packets are of the whole cluster
    crash: float  # until the last believes it failed
    silence_avoided: float  # until the last lookup prefers others
    silence_failed: float
    split: float | None  # until each half believes all of the other failed
    heal: float | None  # until all fingerprints are equal again, and all believe all alive
    memory: float  # MiB of the simulating process, at the most, before the split
    took: float  # seconds of the processor, in all


def measure(nodes: int, instances: int, *, seed: int = 0, idle: float = 5.0, split: bool = True) -> Sizes:
    """Measure a cluster of ``nodes``. ``idle`` is how long rest is looked at (virtual seconds)."""
    began = time.process_time()
    cluster = LargeCluster.gathered(nodes, instances, seed)
    gathered = time.process_time() - began
    rest = at_rest(cluster, idle)
    joined = join(cluster, rest)  # first, while no news still rides on probes
    registrations = [registration(cluster, rest, number) for number in range(_TRIES)]
    together = burst(cluster, rest)
    crashes = [crash(cluster, 1 + number) for number in range(_DEATHS)]
    silences = [silence(cluster, 1 + _DEATHS + number) for number in range(_DEATHS)]
    memory = _peak_mebibytes()
    parted = parting(cluster) if split else (None, None)
    return Sizes(
        nodes=nodes,
        instances=instances,
        gathered=gathered,
        rest=rest,
        registration=News(
            statistics.median(news.seconds for news in registrations),
            statistics.median(news.packets for news in registrations),
            statistics.median(news.bytes for news in registrations),
        ),
        burst=together,
        join=joined,
        crash=statistics.median(crashes),
        silence_avoided=statistics.median(avoided for avoided, _ in silences),
        silence_failed=statistics.median(failed for _, failed in silences),
        split=parted[0],
        heal=parted[1],
        memory=memory,
        took=time.process_time() - began,
    )


def at_rest(cluster: LargeCluster, seconds: float) -> Rest:
    """What ``seconds`` of rest cost."""
    packets, sent = cluster.packets, cluster.bytes
    began = time.process_time()
    cluster.rest(seconds)
    took = time.process_time() - began
    share = cluster.nodes * seconds
    return Rest(seconds / took, (cluster.packets - packets) / share, (cluster.bytes - sent) / share)


def _told(cluster: LargeCluster, rest: Rest, tell: Callable[[], float]) -> News:
    """What it costs each node to be told."""
    packets, sent, began = cluster.packets, cluster.bytes, cluster.world.seconds
    seconds = tell()
    cluster.rest(max(0.0, _SPENT - seconds))
    share, passed = len(cluster.names), cluster.world.seconds - began
    return News(
        seconds,
        (cluster.packets - packets) / share - rest.packets * passed,
        (cluster.bytes - sent) / share - rest.bytes * passed,
    )


def registration(cluster: LargeCluster, rest: Rest, number: int) -> News:
    """One more instance at one node."""
    owner = number * 7 % cluster.nodes
    instance = cluster.instance(owner, cluster.instances + number)
    return _told(
        cluster,
        rest,
        lambda: cluster.last_to_see(
            lambda: cluster.cluster.register(f"n{owner}", instance), {instance.id: instance.service}
        ),
    )


def burst(cluster: LargeCluster, rest: Rest, count: int = BURST) -> News:
    """``count`` instances at once, each at another node as far as there are so many."""
    fresh = cluster.instances + _TRIES
    new = [(n % cluster.nodes, cluster.instance(n % cluster.nodes, fresh + n // cluster.nodes)) for n in range(count)]

    def begin() -> None:
        for owner, instance in new:
            cluster.cluster.register(f"n{owner}", instance)

    offers = {instance.id: instance.service for _, instance in new}
    return _told(cluster, rest, lambda: cluster.last_to_see(begin, offers))


def join(cluster: LargeCluster, rest: Rest) -> News:
    """One more node, which knows one seed: until it knows all that its seed does, and all know it."""
    name = f"n{cluster.nodes}"

    def tell() -> float:
        cluster.cluster.start(name, seeds=["n0"])
        return cluster.until(cluster.agrees, 30.0)

    news = _told(cluster, rest, tell)
    return News(news.seconds, news.packets * len(cluster.names), news.bytes * len(cluster.names))


def crash(cluster: LargeCluster, number: int) -> float:
    """A process is killed: until the last node believes it failed."""
    name = f"n{number}"
    others = [other for other in cluster.names if other != name]
    cluster.rest(_SPENT)
    return cluster.last_to_believe(lambda: cluster.cluster.crash(name), {name}, Status.FAILED, others)


def silence(cluster: LargeCluster, number: int) -> tuple[float, float]:
    """A host falls silent: until the last lookup prefers others, and until the last node believes it failed."""
    name, service = f"n{number}", cluster.instance(number, 0).service
    others = [other for other in cluster.names if other != name]
    cluster.rest(_SPENT)
    began = cluster.world.seconds
    avoided = cluster.last_to_avoid(lambda: cluster.cluster.crash(name, host=True), name, service)
    cluster.last_to_believe(lambda: None, {name}, Status.FAILED, others)
    return avoided, cluster.world.seconds - began


def parting(cluster: LargeCluster) -> tuple[float, float]:
    """The cluster falls in two halves and heals: until each has failed the other; until all is as it was."""
    names = cluster.names
    left, right = names[::2], names[1::2]
    network = cluster.cluster.network
    began = cluster.world.seconds
    cut = Cut(Links(frozenset(left), frozenset(right)))
    cluster.last_to_believe(lambda: network.begin("split", cut), set(right), Status.FAILED, left, 120.0)
    cluster.last_to_believe(lambda: None, set(left), Status.FAILED, right, 120.0)
    split = cluster.world.seconds - began
    began = cluster.world.seconds
    cluster.last_to_believe(lambda: network.end("split"), set(names), Status.ALIVE, names, 120.0)
    cluster.until(cluster.agrees, 120.0)
    return split, cluster.world.seconds - began


def _peak_mebibytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
