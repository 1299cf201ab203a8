"""Records that no owner issued, and removed records that come back, are reported."""

from __future__ import annotations

import attrs

from gossipreg.protocol.outputs import InstancesChanged
from gossipreg.protocol.registry.registry import Registry
from gossipreg_sim.oracles.records import NoResurrection, SingleWriter
from tests.sim.oracles.watching import offer, texts, watched


def test_a_record_that_its_owner_never_issued_is_reported() -> None:
    made, writer = watched(SingleWriter)
    assert writer.checks > 0
    forger = Registry("n1")
    generation = made.processes["n1"].engine.identity.generation
    for _ in range(9):
        forged, _change = forger.offer(attrs.evolve(offer("a"), port=666), generation)
    n0 = made.processes["n0"]
    n0.engine.state.take(forged, n0.now, spread=False)
    writer.see(n0, InstancesChanged(("s",)))
    assert texts(writer) == ["holds a of n1 at version 9, which its owner never issued"]


def test_a_removed_record_that_comes_back_is_reported() -> None:
    made, resurrection = watched(NoResurrection)
    assert resurrection.checks > 0
    n0 = made.processes["n0"]
    owner = Registry("n1")
    generation = made.processes["n1"].engine.identity.generation
    owner.offer(offer("a"), generation)
    removed, _change = owner.offer(offer("b"), generation)
    n0.engine.state.registry.apply(removed)
    resurrection.see(n0, InstancesChanged(("s",)))
    assert texts(resurrection) == ["shows b of n1 at version 2: lost at version 2"]


def test_a_removed_record_that_is_held_without_its_owner_is_reported_once_the_owner_is_known() -> None:
    made, resurrection = watched(NoResurrection)
    n0, n1 = made.processes["n0"], made.processes["n1"].engine
    owner = n0.engine.state.forget("n1")
    issuer = Registry("n1")
    issuer.offer(offer("a"), n1.identity.generation)
    removed, _change = issuer.offer(offer("b"), n1.identity.generation)
    n0.engine.state.take(removed, n0.now, spread=False)
    resurrection.see(n0, InstancesChanged(("s",)))
    assert texts(resurrection) == []
    n0.engine.state.believe(owner, n0.now, spread=False)
    resurrection.see(n0, InstancesChanged(("s",)))
    resurrection.see(n0, InstancesChanged(("s",)))
    assert texts(resurrection) == ["shows b of n1 at version 2: lost at version 2"]


def test_a_record_that_is_dropped_without_its_owner_may_come_back() -> None:
    made, resurrection = watched(NoResurrection)
    n0, generation = made.processes["n0"], made.processes["n1"].engine.identity.generation
    owner = n0.engine.state.forget("n1")
    issuer = Registry("n1")
    first, _change = issuer.offer(offer("c"), generation)
    second, _change = issuer.offer(offer("d"), generation)
    for taken in (first, second, first):
        n0.engine.state.drop_table("n1")
        n0.engine.state.take(taken, n0.now, spread=False)
        resurrection.see(n0, InstancesChanged(("s",)))
    n0.engine.state.believe(owner, n0.now, spread=False)
    resurrection.see(n0, InstancesChanged(("s",)))
    assert texts(resurrection) == []


def test_a_returned_record_that_is_dropped_with_its_owner_still_unknown_is_not_reported() -> None:
    made, resurrection = watched(NoResurrection)
    n0, generation = made.processes["n0"], made.processes["n1"].engine.identity.generation
    owner = n0.engine.state.forget("n1")
    issuer = Registry("n1")
    issuer.offer(offer("a"), generation)
    removed, _change = issuer.offer(offer("b"), generation)
    n0.engine.state.take(removed, n0.now, spread=False)
    resurrection.see(n0, InstancesChanged(("s",)))
    n0.engine.state.drop_table("n1")
    n0.engine.state.believe(owner, n0.now, spread=False)
    resurrection.see(n0, InstancesChanged(("s",)))
    assert texts(resurrection) == []


def test_a_removed_record_still_held_at_the_end_is_reported() -> None:
    made, resurrection = watched(NoResurrection)
    resurrection.context.healed_in = 0.0
    resurrection.finish()
    assert texts(resurrection) == []
    n1 = made.processes["n1"].engine
    n1.state.registry.delete("a", n1.identity.generation)
    resurrection.finish()
    assert texts(resurrection) == ["still holds a of n1, which is removed"] * 2
