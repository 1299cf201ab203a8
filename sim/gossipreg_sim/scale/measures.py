"""Knows what is measured of a crowd: what rest costs, how fast news travels and what it costs, and who is found dead.

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
from gossipreg_sim.scale.crowd import Crowd

#: How long all rounds of a rumor, and the first of its rides, are given before its cost is told (seconds).
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
    """Measure a crowd of ``nodes``. ``idle`` is how long rest is looked at (virtual seconds)."""
    began = time.process_time()
    crowd = Crowd.gathered(nodes, instances, seed)
    gathered = time.process_time() - began
    rest = at_rest(crowd, idle)
    joined = join(crowd, rest)  # first, while no news still rides on probes
    registrations = [registration(crowd, rest, number) for number in range(_TRIES)]
    together = burst(crowd, rest)
    crashes = [crash(crowd, 1 + number) for number in range(_DEATHS)]
    silences = [silence(crowd, 1 + _DEATHS + number) for number in range(_DEATHS)]
    memory = _peak_mebibytes()
    parted = parting(crowd) if split else (None, None)
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


def at_rest(crowd: Crowd, seconds: float) -> Rest:
    """What ``seconds`` of rest cost."""
    packets, sent = crowd.packets, crowd.bytes
    began = time.process_time()
    crowd.rest(seconds)
    took = time.process_time() - began
    share = crowd.nodes * seconds
    return Rest(seconds / took, (crowd.packets - packets) / share, (crowd.bytes - sent) / share)


def _told(crowd: Crowd, rest: Rest, tell: Callable[[], float]) -> News:
    """What it costs each node to be told."""
    packets, sent, began = crowd.packets, crowd.bytes, crowd.world.seconds
    seconds = tell()
    crowd.rest(max(0.0, _SPENT - seconds))
    share, passed = len(crowd.names), crowd.world.seconds - began
    return News(
        seconds,
        (crowd.packets - packets) / share - rest.packets * passed,
        (crowd.bytes - sent) / share - rest.bytes * passed,
    )


def registration(crowd: Crowd, rest: Rest, number: int) -> News:
    """One more instance at one node."""
    owner = number * 7 % crowd.nodes
    instance = crowd.instance(owner, crowd.instances + number)
    return _told(
        crowd,
        rest,
        lambda: crowd.last_to_see(
            lambda: crowd.cluster.register(f"n{owner}", instance), {instance.id: instance.service}
        ),
    )


def burst(crowd: Crowd, rest: Rest, count: int = BURST) -> News:
    """``count`` instances at once, each at another node as far as there are so many."""
    fresh = crowd.instances + _TRIES
    new = [(n % crowd.nodes, crowd.instance(n % crowd.nodes, fresh + n // crowd.nodes)) for n in range(count)]

    def begin() -> None:
        for owner, instance in new:
            crowd.cluster.register(f"n{owner}", instance)

    offers = {instance.id: instance.service for _, instance in new}
    return _told(crowd, rest, lambda: crowd.last_to_see(begin, offers))


def join(crowd: Crowd, rest: Rest) -> News:
    """One more node, which knows one seed: until it knows all that its seed does, and all know it."""
    name = f"n{crowd.nodes}"

    def tell() -> float:
        crowd.cluster.start(name, seeds=["n0"])
        return crowd.until(crowd.agrees, 30.0)

    news = _told(crowd, rest, tell)
    return News(news.seconds, news.packets * len(crowd.names), news.bytes * len(crowd.names))


def crash(crowd: Crowd, number: int) -> float:
    """A process is killed: until the last node believes it failed."""
    name = f"n{number}"
    others = [other for other in crowd.names if other != name]
    crowd.rest(_SPENT)
    return crowd.last_to_believe(lambda: crowd.cluster.crash(name), {name}, Status.FAILED, others)


def silence(crowd: Crowd, number: int) -> tuple[float, float]:
    """A host falls silent: until the last lookup prefers others, and until the last node believes it failed."""
    name, service = f"n{number}", crowd.instance(number, 0).service
    others = [other for other in crowd.names if other != name]
    crowd.rest(_SPENT)
    began = crowd.world.seconds
    avoided = crowd.last_to_avoid(lambda: crowd.cluster.crash(name, host=True), name, service)
    crowd.last_to_believe(lambda: None, {name}, Status.FAILED, others)
    return avoided, crowd.world.seconds - began


def parting(crowd: Crowd) -> tuple[float, float]:
    """The crowd falls in two halves and heals: until each has failed the other; until all is as it was."""
    names = crowd.names
    left, right = names[::2], names[1::2]
    network = crowd.cluster.network
    began = crowd.world.seconds
    cut = Cut(Links(frozenset(left), frozenset(right)))
    crowd.last_to_believe(lambda: network.begin("split", cut), set(right), Status.FAILED, left, 120.0)
    crowd.last_to_believe(lambda: None, set(left), Status.FAILED, right, 120.0)
    split = crowd.world.seconds - began
    began = crowd.world.seconds
    crowd.last_to_believe(lambda: network.end("split"), set(names), Status.ALIVE, names, 120.0)
    crowd.until(crowd.agrees, 120.0)
    return split, crowd.world.seconds - began


def _peak_mebibytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)
