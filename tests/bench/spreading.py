"""The cost of one registration in a simulated cluster, with and without packet loss.

    python -m tests.bench.spreading                          64 nodes, 0, 10 and 30 % loss
    python -m tests.bench.spreading --nodes 64,1000 --tries 15
    python -m tests.bench.spreading --burst 1000             1,000 registrations through one node, one each ms

The production engine runs on virtual time, so the figures are the same on every machine; no CPU is counted. One way
takes 0.5 ms. Packets and frames are those that are sent within three seconds after the registration, above what an
idle cluster sends; bytes are in clear (a sealed packet has 43 more).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

if __package__ in (None, ""):  # run as a script: the package is found from the repository's root
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from gossipreg.protocol.outputs import InstancesChanged, Output
from gossipreg_sim.conditions import Links, Loss
from gossipreg_sim.process import Process
from gossipreg_sim.scale.large_cluster import LargeCluster
from gossipreg_sim.world import SECOND
from tests.bench.tables import markdown

#: Time in which the traffic of a registration is counted (seconds).
_COUNTED = 3.0

#: Time between two registrations (seconds): all broadcasts of the first have ended.
_PAUSE = 4.0

#: Instances of each node at the start.
_INSTANCES = 10


@attrs.define
class Spread:
    """How one registration, or each of a burst, came to the last node."""

    seconds: list[float] = attrs.field(factory=list)
    half: list[float] = attrs.field(factory=list)  # until half of the nodes had it
    packets: list[float] = attrs.field(factory=list)  # a node
    bytes: list[float] = attrs.field(factory=list)  # a node


@attrs.define
class _Seen:
    """When each of the registered instances was seen by how many nodes."""

    cluster: LargeCluster
    born: dict[str, int] = attrs.field(factory=dict)  # id -> ns
    services: dict[str, dict[str, None]] = attrs.field(factory=dict)  # service -> ids that not all nodes have seen
    by: dict[str, dict[str, int]] = attrs.field(factory=dict)  # id -> node -> ns

    def expect(self, id: str, service: str) -> None:
        self.born[id] = self.cluster.world.now
        self.by[id] = {}
        self.services.setdefault(service, {})[id] = None

    def see(self, process: Process, output: Output) -> None:
        if not isinstance(output, InstancesChanged):
            return
        for service in output.services:
            awaited = self.services.get(service)
            if not awaited:
                continue
            for instance in process.engine.view.service(service).healthy:
                if instance.id in awaited:
                    self.by[instance.id].setdefault(process.name, self.cluster.world.now)

    def times(self, share: float = 1.0) -> list[float]:
        """How long each took until that share of all nodes had it (seconds); infinity if it never did."""
        needed = max(1, round(share * self.cluster.nodes))
        found = []
        for id_, seen in self.by.items():
            when = sorted(seen.values())
            found.append((when[needed - 1] - self.born[id_]) / SECOND if len(when) >= needed else float("inf"))
        return found


def measure(nodes: int, loss: float, tries: int, seed: int) -> Spread:
    """Register one instance after the other, each at another node, at that loss (0 to 1)."""
    cluster = LargeCluster.converged(nodes, _INSTANCES, seed, quiet=20.0)
    if loss:
        names = cluster.live_names
        cluster.cluster.network.begin("loss", Loss(Links(names, names), loss))
        cluster.run_for(3.0)
    spread = Spread()
    idle = _traffic(cluster, 10.0)
    for number in range(tries):
        owner = number * 7 % nodes
        seen = _Seen(cluster)
        instance = cluster.instance(owner, _INSTANCES + number // nodes)
        seen.expect(instance.id, instance.service)
        unwatch = cluster.watch(seen.see)
        before = cluster.packets, cluster.bytes
        cluster.cluster.register(f"n{owner}", instance)
        cluster.run_for(_COUNTED)
        spread.packets.append((cluster.packets - before[0]) / nodes - idle[0] * _COUNTED)
        spread.bytes.append((cluster.bytes - before[1]) / nodes - idle[1] * _COUNTED)
        cluster.run_for(_PAUSE - _COUNTED)
        unwatch()
        spread.seconds += seen.times()
        spread.half += seen.times(0.5)
    return spread


def measure_burst(nodes: int, loss: float, count: int, seed: int, owners: int = 1) -> Spread:
    """Register ``count`` instances through ``owners`` nodes, one each ms."""
    cluster = LargeCluster.converged(nodes, _INSTANCES, seed, quiet=20.0)
    if loss:
        names = cluster.live_names
        cluster.cluster.network.begin("loss", Loss(Links(names, names), loss))
        cluster.run_for(3.0)
    idle = _traffic(cluster, 10.0)
    seen = _Seen(cluster)
    cluster.watch(seen.see)
    before, began = (cluster.packets, cluster.bytes), cluster.world.seconds
    for number in range(count):
        owner = number % owners * (nodes // owners)
        instance = cluster.instance(owner, _INSTANCES + number // owners)
        seen.expect(instance.id, instance.service)
        cluster.cluster.register(f"n{owner}", instance)
        cluster.run_for(0.001)
    cluster.run_for(_COUNTED)
    passed = cluster.world.seconds - began
    return Spread(
        seen.times(),
        seen.times(0.5),
        [(cluster.packets - before[0]) / nodes - idle[0] * passed],
        [(cluster.bytes - before[1]) / nodes - idle[1] * passed],
    )


def _traffic(cluster: LargeCluster, seconds: float) -> tuple[float, float]:
    """Packets and bytes of an idle node in a second."""
    before = cluster.packets, cluster.bytes
    cluster.run_for(seconds)
    share = cluster.nodes * seconds
    return (cluster.packets - before[0]) / share, (cluster.bytes - before[1]) / share


def _row(nodes: int, loss: float, spread: Spread) -> list[str]:
    middle = statistics.median
    return [
        f"{nodes:,}",
        f"{100 * loss:g} %",
        f"{1000 * middle(spread.seconds):.1f}",
        f"{1000 * max(spread.seconds):.1f}",
        f"{1000 * middle(spread.half):.1f}",
        f"{middle(spread.packets):.1f}",
        f"{middle(spread.bytes):,.0f}",
    ]


def table(nodes: Sequence[int], losses: Sequence[float], tries: int, seed: int, burst: int = 0, owners: int = 1) -> str:
    """All that was measured, in Markdown."""
    rows = [["nodes", "loss", "last node, median, ms", "at most", "half of them", "packets a node", "bytes a node"]]
    for count in nodes:
        for loss in losses:
            if burst:
                rows.append(_row(count, loss, measure_burst(count, loss, burst, seed, owners)))
            else:
                rows.append(_row(count, loss, measure(count, loss, tries, seed)))
    return markdown(rows)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """What the user wants; ends the process with a sentence about it if it cannot be had."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="64", metavar="N,M", help="sizes of the cluster (64)")
    parser.add_argument("--loss", default="0,10,30", metavar="P,Q", help="percent of packets lost (0,10,30)")
    parser.add_argument("--tries", type=int, default=15, metavar="N", help="registrations of each kind (15)")
    parser.add_argument("--burst", type=int, default=0, metavar="N", help="so many, one each ms, instead (0)")
    parser.add_argument("--owners", type=int, default=1, metavar="N", help="nodes through which a burst goes (1)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the simulation (0)")
    options = parser.parse_args(given)
    try:
        options.nodes = [int(each) for each in options.nodes.split(",")]
        options.loss = [float(each) / 100 for each in options.loss.split(",")]
    except ValueError:
        parser.error("--nodes and --loss: numbers, with commas between them")
    if min(options.nodes) < 2 or options.tries < 1 or not all(0 <= loss < 1 for loss in options.loss):
        parser.error("--nodes: 2 or more; --tries: 1 or more; --loss: from 0 to less than 100 %")
    return options


def main(given: Sequence[str] | None = None) -> int:
    """Run the measurement; returns the exit status."""
    options = arguments(given)
    found = table(options.nodes, options.loss, options.tries, options.seed, options.burst, options.owners)
    sys.stdout.write(f"{found}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
