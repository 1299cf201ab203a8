"""Cost of identity: ``python -m tests.bench.identity`` compares `require` with no identity, in one run.

The production engine runs on virtual time: bytes are the same on every machine. CPU time is that of this process, with
the simulator's own share in it, so ratios of CPU are somewhat too small; a figure is the median of some rounds, whose
two sides take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import attrs

from gossipreg.model import Address
from gossipreg.protocol.identity.authenticator import Authenticator, IdentityMode
from gossipreg.protocol.identity.certificate_verifier import CertificateVerifier
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.stream_sessions import frames
from gossipreg.protocol.wire.messages import Message, pack, pack_sender
from gossipreg_sim.cluster import NO_NODE, Cluster
from gossipreg_sim.identities import CLUSTER, Identities
from gossipreg_sim.world import EPOCH_MS, World, ns
from tests.bench.figures import Figure, digits
from tests.bench.offers import offer
from tests.bench.tables import markdown

OFF, REQUIRE = IdentityMode.OFF, IdentityMode.REQUIRE

#: How long a cluster takes to come to rest: what its members stated first is told for a while (seconds).
_SETTLE: Final = 20.0

#: The goals of each row, if it has one: the most that `require` may cost.
GOALS: Final = {
    "CPU per registration and node": "≤ 1.3x",
    "bytes per registration and node": "≤ +100",
    "CPU of a join": "≤ 2x",
}


@attrs.frozen
class Cost:
    """What something took: seconds of CPU time, and bytes sent."""

    cpu: float
    bytes: float

    def minus(self, other: Cost) -> Cost:
        """What is left of it without ``other``."""
        return Cost(self.cpu - other.cpu, self.bytes - other.bytes)

    def by(self, count: float) -> Cost:
        """What one of ``count`` took."""
        return Cost(self.cpu / count, self.bytes / count)


def cluster_of(nodes: int, mode: IdentityMode, seed: int = 1) -> Cluster:
    """A cluster that has come to rest."""
    world = World(seed)
    identities = None if mode is OFF else Identities(world, mode)
    cluster = Cluster(world, key=world.rng("key").bits().to_bytes(8) * 4, identities=identities)
    cluster.bare = True
    for number in range(nodes):
        cluster.start(f"n{number}", seeds=["n0"] if number else [])
        world.run(world.now + ns(0.02))
    world.run(world.now + ns(_SETTLE))
    return cluster


def cost_of(cluster: Cluster, what: Callable[[], None]) -> Cost:
    """What it costs all nodes to do ``what``."""
    before, began = cluster.counters["bytes"], time.process_time()
    what()
    return Cost(time.process_time() - began, cluster.counters["bytes"] - before)


def rest(nodes: int, seconds: float, mode: IdentityMode) -> Cost:
    """A second of a node at rest."""
    cluster = cluster_of(nodes, mode)
    took = cost_of(cluster, lambda: cluster.world.run(cluster.world.now + ns(seconds)))
    return took.by(nodes * seconds)


def registration(nodes: int, count: int, mode: IdentityMode) -> Cost:
    """A registration, one after the other, at each node that learns of it; without what a node does at rest."""
    cluster = cluster_of(nodes, mode)
    gap = ns(0.05)

    def register() -> None:
        for number in range(count):
            cluster.register(f"n{number % nodes}", offer(number))
            cluster.world.run(cluster.world.now + gap)

    busy = cost_of(cluster, register)
    idle = cost_of(cluster, lambda: cluster.world.run(cluster.world.now + count * gap))
    return busy.minus(idle).by(nodes * count)


def _signature(by: Authenticator, record: Record, _: object) -> bytes:
    return by.sign_record(record)


def join(members: int, records: int, mode: IdentityMode) -> Cost:
    """The join of a node to a cluster with so many members and records, for both ends."""
    world = World(1)
    identities = Identities(world, REQUIRE if mode is OFF else mode)
    cluster = Cluster(world, authenticators=None if mode is OFF else identities.authenticator)
    first = cluster.start("n0")
    first.engine.settings = cluster.settings
    for number in range(members - 1):
        name = f"m{number}"
        by = None if mode is OFF else identities.signer(name)
        authenticator = Authenticator(CertificateVerifier(CLUSTER, (identities.authority.authority,)), mode, by)
        update = MemberUpdate(name, EPOCH_MS, 0, first.engine.identity.own_update().status, _address(number))
        registry = Registry(name)
        if by is not None:
            registry.sign = partial(_signature, authenticator)
        said: list[Message] = [authenticator.sign_update(update)]
        said += [registry.offer(offer(each), EPOCH_MS)[0] for each in range(records // (members - 1))]
        for frame in frames(pack_sender(1), map(pack, said)):
            first.engine.receive(frame, NO_NODE, 0.0)
    held = first.engine.state.registry.size
    assert held == (members - 1) * (records // (members - 1)), "the first node holds all records"
    joined = cluster.start("n1", seeds=["n0"])

    def wait() -> None:
        while joined.engine.state.registry.size < held and world.seconds < 30:
            world.run(world.now + ns(0.05))

    took = cost_of(cluster, wait)
    assert joined.engine.state.registry.size == held, "the newcomer holds all records"
    return took


def _address(number: int) -> Address:
    return Address(f"10.1.{number // 256}.{number % 256}", 7940)


@attrs.frozen
class Row:
    """One line of the table: rounds of both sides."""

    name: str
    unit: str
    without: Figure
    with_: Figure

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells, with the difference and the ratio of the medians."""
        one, other = self.without.middle, self.with_.middle
        more = digits(other - one) if other >= one else f"-{digits(one - other)}"
        ratio = "-" if one <= 0 else f"{other / one:.2f}"
        return self.name, self.unit, str(self.without), str(self.with_), more, ratio, GOALS.get(self.name, "")


def rows(measure: Callable[[IdentityMode], Cost], name: str, rounds: int, *, scale: float, unit: str) -> list[Row]:
    """The CPU and the bytes of something, in rounds of both sides; ``scale`` seconds of CPU are one ``unit``."""
    sides: dict[IdentityMode, list[Cost]] = {OFF: [], REQUIRE: []}
    for _ in range(rounds):
        for mode, costs in sides.items():
            costs.append(measure(mode))
    cpu = {mode: Figure.of([cost.cpu / scale for cost in costs]) for mode, costs in sides.items()}
    sent = {mode: statistics.median(cost.bytes for cost in costs) for mode, costs in sides.items()}
    exact = {mode: Figure.of([bytes_]) for mode, bytes_ in sent.items()}
    return [
        Row(f"CPU {name}", unit, cpu[OFF], cpu[REQUIRE]),
        Row(f"bytes {name}", "B", exact[OFF], exact[REQUIRE]),
    ]


def table(options: argparse.Namespace) -> str:
    """The table of costs."""
    nodes, rounds = options.nodes, options.rounds
    found = [
        *rows(
            lambda mode: rest(nodes, options.seconds, mode),
            "per second at rest and node",
            rounds,
            scale=1e-6,
            unit="µs",
        ),
        *rows(
            lambda mode: registration(nodes, options.registrations, mode),
            "per registration and node",
            rounds,
            scale=1e-6,
            unit="µs",
        ),
        *rows(lambda mode: join(options.members, options.records, mode), "of a join", rounds, scale=1.0, unit="s"),
    ]
    head = ("what", "unit", "off", "require", "more", "ratio", "goal")
    return markdown([head, *(row.cells for row in found)])


def options(words: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.identity", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=32, help="at rest and for registrations (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="at rest, of virtual time (default: %(default)g)")
    parser.add_argument("--registrations", type=int, default=200, help="(default: %(default)s)")
    parser.add_argument("--members", type=int, default=1000, help="of the joined cluster (default: %(default)s)")
    parser.add_argument("--records", type=int, default=10_000, help="of the joined cluster (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each side (default: %(default)s)")
    return parser.parse_args(words)


if __name__ == "__main__":
    print(table(options()))  # noqa: T201 -- what the command is for
