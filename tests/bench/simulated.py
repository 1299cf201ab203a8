"""Simulated clusters for the benchmark: many nodes that join at once, and churn.

The production engine runs on virtual time, so the figures are the same on every machine, but for the line that says
otherwise; no CPU is counted. Packets are counted sealed; streams before they are, which would add 20 bytes to a frame
and two hellos of 30 bytes to a stream.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import attrs

from gossipreg import limits
from gossipreg.protocol.outputs import InstancesChanged, Output
from gossipreg_sim.cluster import Cluster
from gossipreg_sim.process import Process
from gossipreg_sim.world import World, ns
from tests.bench.figures import Figure, digits
from tests.bench.offers import offer
from tests.bench.tables import markdown


def cluster_of(nodes: int, seed: int) -> Cluster:
    """A cluster with the simulator's usual wires (0.5 ms), started a little apart and settled."""
    world = World(seed)
    cluster = Cluster(world, key=world.rng("key").bits().to_bytes(8) * 4)
    cluster.bare = True
    names = [f"n{number}" for number in range(nodes)]
    for number, name in enumerate(names):
        cluster.start(name, seeds=names[:1] if number else ())
        world.run(world.now + ns(0.02))
    world.run(world.now + ns(5))
    return cluster


def holds(process: Process) -> int:
    """How many instances a node's lookups know."""
    return sum(len(view.healthy) for view in process.engine.view.services.values())


@attrs.define
class Streams:
    """How many streams each node has open that others opened to it, at most."""

    cluster: Cluster
    most: Counter[str] = attrs.field(factory=Counter)

    def watch(self, process: Process) -> None:
        """A node has done something."""
        accepted = sum(number < 0 for number in process.engine.sessions._sessions)
        self.most[process.name] = max(self.most[process.name], accepted)


def cluster(options: argparse.Namespace) -> str:
    """The third part."""
    old = [f"n{number}" for number in range(8)]
    cluster = cluster_of(len(old), options.seed)
    world = cluster.world
    for number in range(options.records):
        cluster.register(old[number % len(old)], offer(number))
        if number % 100 == 99:
            world.run(world.now + ns(0.05))
    world.run(world.now + ns(10))
    assert all(holds(process) == options.records for process in cluster.alive), "the old ones know everything"
    sent = cluster.counters["bytes"]
    cluster.start("one", seeds=old[:1])
    world.run(world.now + ns(10))
    one = cluster.counters["bytes"] - sent
    streams = Streams(cluster)
    cluster.touched.append(streams.watch)
    before, began = cluster.counters.copy(), world.now
    newcomers = [cluster.start(f"j{number}", seeds=old[:3]) for number in range(options.newcomers)]
    full: dict[str, float] = {}
    while len(full) < len(newcomers) and world.now - began < ns(60):
        world.run(world.now + ns(0.01))
        for process in newcomers:
            if process.name not in full and holds(process) == options.records:
                full[process.name] = (world.now - began) / ns(1)
    alone = cluster.counters["bytes"] - before["bytes"]
    world.run(max(world.now, began + ns(10)))
    in_all = cluster.counters["bytes"] - before["bytes"]
    prints = {process.engine.fingerprint for process in cluster.alive}
    rows = [
        ["what", "value"],
        ["full, the last one, s", digits(max(full.values())) if len(full) == len(newcomers) else "not in time"],
        ["full, half of them, s", digits(Figure.of(list(full.values())).middle) if full else "not in time"],
        ["streams open at one node at once, at most", str(max(streams.most.values()))],
        ["streams that a node accepts", str(limits.STREAMS_IN_MAX)],
        ["streams not opened: too many", str(cluster.tally["streams_over_limit"])],
        ["bytes until the last was full, a newcomer", f"{alone / len(newcomers):,.0f}"],
        ["bytes in 10 s, a newcomer", f"{in_all / len(newcomers):,.0f}"],
        ["bytes in 10 s when one node joins alone, by one seed", f"{one:,}"],
        ["packets in 10 s, a node and second", f"{_rate(cluster, before, 'packets', 10):.1f}"],
        ["equal fingerprints everywhere after 10 s", "yes" if len(prints) == 1 else f"no: {len(prints)}"],
        ["members that were well and taken for failed", str(cluster.tally["failures_declared"])],
    ]
    return (
        f"Simulated, virtual time (no CPU is counted): {len(newcomers)} nodes join {len(old)} that hold "
        f"{options.records:,} instances, in the same instant, by three seeds:\n\n{markdown(rows)}"
    )


def _rate(cluster: Cluster, before: Counter[str], what: str, seconds: float) -> float:
    return (cluster.counters[what] - before[what]) / len(cluster.alive) / seconds


@attrs.define
class Sightings:
    """When each change was made, and when the last node saw it."""

    world: World
    nodes: int
    taken: list[float] = attrs.field(factory=list)  # seconds, of each change that all have seen
    _since: dict[str, int] = attrs.field(factory=dict)  # service -> ns, when it was changed
    _unseen: dict[str, dict[str, None]] = attrs.field(factory=dict)  # service -> nodes that have not seen it
    made: int = 0

    def change(self, service: str, names: list[str]) -> None:
        """A change is about to be made to a service that nothing else changes now."""
        self.made += 1
        self._since[service] = self.world.now
        self._unseen[service] = dict.fromkeys(names)

    def see(self, process: Process, output: Output) -> None:
        """A node's lookups look different."""
        if not isinstance(output, InstancesChanged):
            return
        for service in output.services:
            unseen = self._unseen.get(service)
            if unseen is not None and unseen.pop(process.name, True) is None and not unseen:
                del self._unseen[service]
                self.taken.append((self.world.now - self._since[service]) / ns(1))


def percentile(values: list[float], share: float) -> float:
    """The least value that ``share`` of all do not exceed."""
    return sorted(values)[max(0, -int(-share * len(values) // 1) - 1)]


def churn(options: argparse.Namespace) -> str:
    """The fourth part."""
    cluster = cluster_of(options.nodes, options.seed)
    world = cluster.world
    names = [process.name for process in cluster.alive]
    sightings = Sightings(world, len(names))
    cluster.observers.append(sightings.see)
    rng = world.rng("churn")
    world.run(world.now + ns(10))
    probes, before, tally = _probes(cluster), cluster.counters.copy(), cluster.tally
    began, real = world.now, time.perf_counter()
    for number in range(options.seconds * options.changes):
        world.at(began + ns(number / options.changes), partial(_change, cluster, sightings, number, names, rng.below))
    world.run(began + ns(options.seconds))
    took = time.perf_counter() - real
    rates = [after - probes[name] for name, after in _probes(cluster).items()]
    dropped = sum(process.engine.state.broadcasts.dropped for process in cluster.alive)
    rate = {what: _rate(cluster, before, what, options.seconds) for what in ("packets", "bytes")}
    after = cluster.tally
    world.run(world.now + ns(10))
    seen = sightings.taken
    rows = [
        ["what", "value"],
        ["changes seen by all", f"{len(seen):,} of {sightings.made:,}"],
        ["seen by the last node, p50, ms", digits(1000 * percentile(seen, 0.5))],
        ["seen by the last node, p99, ms", digits(1000 * percentile(seen, 0.99))],
        ["seen by the last node, at most, ms", digits(1000 * max(seen))],
        ["rumors dropped", str(dropped)],
        ["probes a node and period, mean", f"{sum(rates) / len(rates) / options.seconds:.2f}"],
        ["probes a node and period, least", f"{min(rates) / options.seconds:.2f}"],
        ["probes missed", str(after["probes_missed"] - tally["probes_missed"])],
        ["members that were well and taken for failed", str(after["failures_declared"] - tally["failures_declared"])],
        ["packets a node and second", f"{rate['packets']:.0f}"],
        ["bytes a node and second", f"{rate['bytes']:,.0f}"],
        ["equal fingerprints everywhere 10 s later", "yes" if _agree(cluster) else "no"],
        ["simulated at, times real time (this machine)", digits(options.seconds / took)],
    ]
    return (
        f"Simulated, virtual time (no CPU is counted): {len(names)} nodes, {options.changes} changes a second for "
        f"{options.seconds} s:\n\n{markdown(rows)}"
    )


def _change(cluster: Cluster, sightings: Sightings, number: int, names: list[str], below: Callable[[int], int]) -> None:
    """Offer something new; each third change withdraws something that was new two seconds ago instead."""
    old = number - 201
    if number % 3 == 2 and old >= 0 and old % 3 == 0:
        owner, instance = _owner(cluster, f"churn-{old}")
        if owner is not None:
            sightings.change(instance, names)
            cluster.deregister(owner, instance)
            return
    owner = names[below(len(names))]
    sightings.change(f"churn-{number}", names)
    cluster.register(owner, attrs.evolve(offer(number), id=f"churn-{number}", service=f"churn-{number}"))


def _owner(cluster: Cluster, instance: str) -> tuple[str | None, str]:
    found = next(
        (process.name for process in cluster.alive if process.engine.local_registry.own(instance) is not None), None
    )
    return found, instance


def _probes(cluster: Cluster) -> dict[str, int]:
    """Probes begun so far, by node; pings made for others count too, and there are none while no probe is missed."""
    return {process.name: process.engine.detector.prober._seq for process in cluster.alive}


def _agree(cluster: Cluster) -> bool:
    return len({process.engine.fingerprint for process in cluster.alive}) == 1
