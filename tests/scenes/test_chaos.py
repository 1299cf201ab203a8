"""Invariants under random operations: nodes start, leave, crash, freeze and are cut off, in any order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import Fingerprint
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.outputs import MemberChanged, Output
from gossipreg.protocol.registry.table import Table
from tests.scenes.testbed import EngineNode, EngineTestbed

pytestmark = pytest.mark.slow

CAST = ("a", "b", "c", "d", "e")

#: Time in which an undisturbed cluster must agree again (seconds): the longest suspicion (24), the attempts to reach
#: failed members and seeds (5 each), and a few sync sessions.
SETTLED_WITHIN = 90.0


def recomputed_fingerprint(node: EngineNode) -> int:
    """Compute the fingerprint of the node's whole state from scratch."""
    state = node.engine.state
    fresh = Fingerprint()
    for update in state.members:
        fresh.replace(None, update)
        table = state.registry.table(update.name)
        if table is not None and table.generation == update.generation and update.status is not Status.LEFT:
            for record in table:
                fresh.replace(None, record)
            if table.latest_digest.version:
                fresh.replace(None, table.latest_digest)
    return fresh.total


class Chaos(RuleBasedStateMachine):
    """A testbed with three to five nodes, and all operations on them."""

    @initialize(count=st.integers(3, 5), seed=st.integers(0, 3))
    def begin(self, count: int, seed: int) -> None:
        self.testbed = EngineTestbed(seed=seed)
        self.testbed.listeners.append(self.watch)
        self.cast = CAST[:count]
        self.offered: dict[str, set[str]] = {name: set() for name in self.cast}
        self.ranks: dict[tuple[EngineNode, str], MemberUpdate] = {}
        self.versions: dict[int, tuple[Table, dict[str, int]]] = {}
        self.testbed.start("a")
        for name in self.cast[1:]:
            self.testbed.start(name, seeds=["a"])
        everywhere = tuple(node.address for node in self.testbed.alive)
        for node in self.testbed.alive:
            node.seeds = everywhere  # so that they find each other without a

    def watch(self, node: EngineNode, output: Output) -> None:
        if isinstance(output, MemberChanged):
            known = output.after or output.before
            assert known is not None
            key = (node, known.name)
            assert self.ranks.get(key) == output.before
            if output.after is None:
                del self.ranks[key]
            else:
                assert output.before is None or output.after.supersedes(output.before)
                self.ranks[key] = output.after

    # Operations

    def running(self) -> list[str]:
        return [node.handle for node in self.testbed.alive if not node.frozen and not node.engine.identity.left]

    def draw(self, data: st.DataObject, among: Iterable[str]) -> str:
        return data.draw(st.sampled_from(sorted(among)))

    @precondition(lambda self: self.running())
    @rule(data=st.data(), letter=st.sampled_from("xyz"), weight=st.integers(0, 3), big=st.booleans())
    def register(self, data: st.DataObject, letter: str, weight: int, big: bool) -> None:
        name = self.draw(data, self.running())
        meta = {"blob": "#" * 2000} if big else {}
        self.testbed.register(name, "orders", as_id=f"{name}-{letter}", weight=weight, meta=meta)
        self.offered[name].add(f"{name}-{letter}")

    @precondition(lambda self: any(self.offered[name] for name in self.running()))
    @rule(data=st.data())
    def deregister(self, data: st.DataObject) -> None:
        name = self.draw(data, (name for name in self.running() if self.offered[name]))
        chosen = self.draw(data, self.offered[name])
        self.testbed.do(name, lambda engine, now: engine.deregister(chosen, now))
        self.offered[name].discard(chosen)

    @precondition(lambda self: len(self.testbed.alive) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        name = self.draw(data, (node.handle for node in self.testbed.alive))
        self.testbed.crash(name)
        self.offered[name].clear()

    @precondition(lambda self: len(self.testbed.alive) < len(self.testbed.nodes))
    @rule(data=st.data(), new_address=st.booleans(), clock_off=st.sampled_from([0, 0, -3600]))
    def restart(self, data: st.DataObject, new_address: bool, clock_off: float) -> None:
        name = self.draw(data, (node.handle for node in self.testbed.nodes.values() if not node.alive))
        port = 8000 + self.testbed._births if new_address else None
        others = [other for other in self.testbed.nodes if other != name]
        called = self.testbed.nodes[name].name
        self.testbed.start(name, seeds=others, port=port, clock_off=clock_off, name=called)
        self.offered[name] = set()

    @precondition(lambda self: "namesake" not in self.testbed.nodes)
    @rule(data=st.data(), clock_off=st.sampled_from([0, 3600]))
    def usurp(self, data: st.DataObject, clock_off: float) -> None:
        """Start another node with a name that is in use."""
        called = self.draw(data, self.cast)
        self.testbed.start("namesake", seeds=self.cast, port=9000, clock_off=clock_off, name=called)
        self.offered["namesake"] = set()

    @precondition(lambda self: len(self.running()) > 1)
    @rule(data=st.data(), lingers=st.booleans())
    def leave(self, data: st.DataObject, lingers: bool) -> None:
        name = self.draw(data, self.running())
        self.testbed.do(name, lambda engine, now: engine.leave(now))
        if lingers:
            self.testbed.advance(self.testbed.settings.leave_linger)
        self.testbed.crash(name)
        self.offered[name].clear()

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        self.testbed.do(self.draw(data, self.running()), lambda engine, now: engine.drain(now))

    @rule(data=st.data(), both_ways=st.booleans())
    def cut(self, data: st.DataObject, both_ways: bool) -> None:
        handles = sorted(self.testbed.nodes)
        one = set(data.draw(st.lists(st.sampled_from(handles), min_size=1, max_size=len(handles) - 1)))
        self.testbed.cut(sorted(one), sorted(set(handles) - one), both_ways=both_ways)

    @rule()
    def heal(self) -> None:
        self.testbed.heal()

    @rule(loss=st.sampled_from([0.0, 0.3, 0.8]))
    def lose(self, loss: float) -> None:
        self.testbed.loss = loss

    @precondition(lambda self: len(self.running()) > 1)
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        self.testbed.freeze(self.draw(data, self.running()))

    @precondition(lambda self: any(node.frozen for node in self.testbed.alive))
    @rule(data=st.data())
    def thaw(self, data: st.DataObject) -> None:
        self.testbed.thaw(self.draw(data, (node.handle for node in self.testbed.alive if node.frozen)))

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.5, 2.0, 10.0]))
    def advance(self, seconds: float) -> None:
        self.testbed.advance(seconds)

    # Invariants

    @invariant()
    def the_fingerprint_matches_the_state(self) -> None:
        for node in self.testbed.nodes.values():
            assert node.engine.fingerprint == recomputed_fingerprint(node)

    @invariant()
    def no_node_sends_junk(self) -> None:
        for node in self.testbed.nodes.values():
            assert not node.engine.counters["junk_packets"]
            assert not node.engine.counters["junk_messages"]
            assert not node.engine.counters["records_with_bad_payload"]

    @invariant()
    def versions_of_a_table_never_fall(self) -> None:
        for node in self.testbed.nodes.values():
            for table in node.engine.state.registry.owners:
                _, before = self.versions.get(id(table), (table, {}))
                now = {record.id: record.version for record in table}
                assert all(now[key] >= before[key] for key in now.keys() & before.keys())
                self.versions[id(table)] = (table, now)

    def teardown(self) -> None:
        if not hasattr(self, "testbed"):
            return
        testbed = self.testbed
        testbed.heal()
        testbed.loss = 0.0
        for node in testbed.alive:
            if node.frozen:
                testbed.thaw(node.handle)
        testbed.advance(1.0)  # packets in flight arrive
        testbed.until(self.is_settled, within=SETTLED_WITHIN, step=1.0)
        testbed.advance(10.0)
        assert self.is_settled(), "an agreement lasts"

    def believes(self, node: EngineNode, name: str) -> bool:
        update = node.engine.members.get(name)
        return update is not None and update.status is Status.ALIVE

    def is_settled(self) -> bool:
        """Whether all nodes know each other and their instances, and believe no other member alive.

        Of two nodes with one name the younger reports the conflict, and no other node sees it (0038).
        """
        testbed = self.testbed
        names = Counter(node.name for node in testbed.alive)
        seen = [node for node in testbed.alive if names[node.name] == 1 or node.engine.identity.conflict is None]
        here = {node.name for node in seen}
        offered = set().union(*(self.offered[node.handle] for node in seen))
        if len(here) < len(seen):
            return False  # two nodes with one name, and neither reports it
        return len({node.engine.fingerprint for node in seen}) <= 1 and all(
            all(self.believes(node, name) for name in here - {node.name})
            and set(node.engine.members.present) == here - {node.name}
            and set(testbed.lookup(node.handle, "orders")) == offered
            for node in seen
        )


def test_of_two_announced_nodes_with_one_name_the_younger_reports_the_conflict() -> None:
    """The queried member cannot answer while the new node joins under its name."""
    chaos = Chaos()
    chaos.begin(3, 0)
    chaos.testbed.start("namesake", seeds=chaos.cast, port=9000, name="a")
    chaos.offered["namesake"] = set()
    chaos.testbed.cut(["a"], ["b", "c", "namesake"], both_ways=False)
    chaos.testbed.advance(0.001)
    chaos.teardown()
    elder, younger = (chaos.testbed.nodes[handle].engine.identity for handle in ("a", "namesake"))
    assert (elder.conflict, younger.conflict) == (None, elder.address)


Chaos.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_chaos = Chaos.TestCase
