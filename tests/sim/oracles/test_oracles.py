"""Each oracle, shown something that must not be."""

from __future__ import annotations

import attrs

from gossipreg import limits
from gossipreg.model import Address, Instance, Status
from gossipreg.protocol.membership.rumor import Rumor
from gossipreg.protocol.outputs import InstancesChanged, MemberChanged, SendFrame, Transmit
from gossipreg.protocol.registry.registry import Registry
from sim.cluster import Cluster
from sim.oracles.limits import Bounds
from sim.oracles.oracle import Oracle
from sim.oracles.ranks import Ranks
from sim.oracles.records import NoResurrection, SingleWriter
from tests.sim.making import cluster, run_for

ADDRESS = Address("198.18.0.9", 7940)
RUMOR = Rumor("n9", 1_000, 3, Status.SUSPECT, ADDRESS, "")


def offer(name: str = "a") -> Instance:
    return Instance(id=name, service="s", host="198.18.0.1", port=80)


def watched(oracle: type[Oracle]) -> tuple[Cluster, Oracle]:
    """A cluster of three that an oracle has watched while an instance came, spread, and another came and went."""
    made = cluster()
    watching = oracle(made)
    made.observers.append(watching.see)
    made.touched.append(watching.after)
    made.register("n1", offer("a"))
    made.register("n1", offer("b"))
    run_for(made, 1)
    made.deregister("n1", "b")
    run_for(made, 1)
    assert watching.violations == []
    return made, watching


def texts(oracle: Oracle) -> list[str]:
    return [violation.text for violation in oracle.violations]


def test_ranks_may_rise_and_a_forgotten_member_may_come_back() -> None:
    made, ranks = watched(Ranks)
    n0 = made.processes["n0"]
    ranks.see(n0, MemberChanged(None, RUMOR))
    failed = attrs.evolve(RUMOR, status=Status.FAILED)
    ranks.see(n0, MemberChanged(RUMOR, failed))
    ranks.see(n0, MemberChanged(failed, None))
    ranks.see(n0, MemberChanged(None, RUMOR))
    assert ranks.checks >= 3
    assert texts(ranks) == []


def test_ranks_may_not_fall() -> None:
    made, ranks = watched(Ranks)
    n0 = made.processes["n0"]
    ranks.see(n0, MemberChanged(None, RUMOR))
    lower = attrs.evolve(RUMOR, status=Status.ALIVE)
    ranks.see(n0, MemberChanged(RUMOR, lower))
    ranks.see(n0, MemberChanged(lower, attrs.evolve(RUMOR, incarnation=2)))
    ranks.see(n0, MemberChanged(lower, attrs.evolve(RUMOR, generation=999, incarnation=9)))
    assert texts(ranks) == [
        "n9 fell from (1000, 3, 1) to (1000, 3, 0)",
        "n9 fell from (1000, 3, 0) to (1000, 2, 1)",
        "n9 fell from (1000, 2, 1) to (999, 9, 1)",
    ]


def test_a_record_that_its_owner_never_issued_is_seen() -> None:
    made, writer = watched(SingleWriter)
    assert writer.checks > 0
    forger = Registry("n1")
    generation = made.processes["n1"].engine.identity.generation
    for _ in range(9):
        forged, _change = forger.offer(attrs.evolve(offer("a"), port=666), generation)
    n0 = made.processes["n0"]
    n0.engine.knowledge.take(forged, n0.now, spread=False)
    writer.see(n0, InstancesChanged(("s",)))
    assert texts(writer) == ["holds a of n1 at version 9, which its owner never issued"]


def test_a_record_that_comes_back_after_it_was_removed_is_seen() -> None:
    made, resurrection = watched(NoResurrection)
    assert resurrection.checks > 0
    n0 = made.processes["n0"]
    owner = Registry("n1")
    generation = made.processes["n1"].engine.identity.generation
    owner.offer(offer("a"), generation)
    removed, _change = owner.offer(offer("b"), generation)
    n0.engine.knowledge.registry._index(came=(removed,), went=())
    resurrection.see(n0, InstancesChanged(("s",)))
    assert texts(resurrection) == ["shows b of n1 at version 2: gone at 2"]


def test_what_is_too_large_to_send_is_seen() -> None:
    made, bounds = watched(Bounds)
    assert bounds.checks > 0
    n0 = made.processes["n0"]
    bounds.see(n0, Transmit(bytes(limits.PACKET_BYTES_MAX - n0.seal.overhead), ADDRESS))
    bounds.see(n0, SendFrame(1, bytes(limits.FRAME_BYTES_MAX)))
    assert texts(bounds) == []
    bounds.see(n0, Transmit(bytes(limits.PACKET_BYTES_MAX - n0.seal.overhead + 1), ADDRESS))
    bounds.see(n0, SendFrame(1, bytes(limits.FRAME_BYTES_MAX + 1)))
    assert texts(bounds) == [
        f"sends a packet of {limits.PACKET_BYTES_MAX + 1} bytes",
        f"sends a frame of {limits.FRAME_BYTES_MAX + 1} bytes",
    ]
