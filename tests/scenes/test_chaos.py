"""What holds whatever happens: nodes come, go, crash, freeze and lose each other, in any order."""

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
from tests.scenes.stage import Actor, Stage

pytestmark = pytest.mark.slow

CAST = ("a", "b", "c", "d", "e")

#: Time in which a cluster that is left alone must be of one mind again (seconds): the longest suspicion (24), the
#: tries to reach the failed and the seeds (5 each), and a few sessions.
SETTLED_WITHIN = 90.0


def recomputed_fingerprint(actor: Actor) -> int:
    """The fingerprint of everything that the actor believes and holds, from nothing."""
    state = actor.engine.state
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
    """A stage with three to five actors, and everything that can be done to them."""

    @initialize(count=st.integers(3, 5), seed=st.integers(0, 3))
    def begin(self, count: int, seed: int) -> None:
        self.stage = Stage(seed=seed)
        self.stage.listeners.append(self.watch)
        self.cast = CAST[:count]
        self.offered: dict[str, set[str]] = {name: set() for name in self.cast}
        self.ranks: dict[tuple[Actor, str], MemberUpdate] = {}
        self.versions: dict[int, tuple[Table, dict[str, int]]] = {}
        self.stage.start("a")
        for name in self.cast[1:]:
            self.stage.start(name, seeds=["a"])
        everywhere = tuple(actor.address for actor in self.stage.alive)
        for actor in self.stage.alive:
            actor.seeds = everywhere  # so that they find each other without a

    def watch(self, actor: Actor, output: Output) -> None:
        if isinstance(output, MemberChanged):
            known = output.after or output.before
            assert known is not None
            key = (actor, known.name)
            assert self.ranks.get(key) == output.before
            if output.after is None:
                del self.ranks[key]
            else:
                assert output.before is None or output.after.supersedes(output.before)
                self.ranks[key] = output.after

    # What can be done

    def running(self) -> list[str]:
        return [actor.handle for actor in self.stage.alive if not actor.frozen and not actor.engine.identity.left]

    def draw(self, data: st.DataObject, among: Iterable[str]) -> str:
        return data.draw(st.sampled_from(sorted(among)))

    @precondition(lambda self: self.running())
    @rule(data=st.data(), letter=st.sampled_from("xyz"), weight=st.integers(0, 3), big=st.booleans())
    def register(self, data: st.DataObject, letter: str, weight: int, big: bool) -> None:
        name = self.draw(data, self.running())
        meta = {"blob": "#" * 2000} if big else {}
        self.stage.register(name, "orders", as_id=f"{name}-{letter}", weight=weight, meta=meta)
        self.offered[name].add(f"{name}-{letter}")

    @precondition(lambda self: any(self.offered[name] for name in self.running()))
    @rule(data=st.data())
    def deregister(self, data: st.DataObject) -> None:
        name = self.draw(data, (name for name in self.running() if self.offered[name]))
        chosen = self.draw(data, self.offered[name])
        self.stage.do(name, lambda engine, now: engine.deregister(chosen, now))
        self.offered[name].discard(chosen)

    @precondition(lambda self: len(self.stage.alive) > 1)
    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        name = self.draw(data, (actor.handle for actor in self.stage.alive))
        self.stage.crash(name)
        self.offered[name].clear()

    @precondition(lambda self: len(self.stage.alive) < len(self.stage.actors))
    @rule(data=st.data(), new_address=st.booleans(), clock_off=st.sampled_from([0, 0, -3600]))
    def restart(self, data: st.DataObject, new_address: bool, clock_off: float) -> None:
        name = self.draw(data, (actor.handle for actor in self.stage.actors.values() if not actor.alive))
        port = 8000 + self.stage._births if new_address else None
        others = [other for other in self.stage.actors if other != name]
        called = self.stage.actors[name].name
        self.stage.start(name, seeds=others, port=port, clock_off=clock_off, name=called)
        self.offered[name] = set()

    @precondition(lambda self: "namesake" not in self.stage.actors)
    @rule(data=st.data(), clock_off=st.sampled_from([0, 3600]))
    def usurp(self, data: st.DataObject, clock_off: float) -> None:
        """Start another node of a name that is taken."""
        called = self.draw(data, self.cast)
        self.stage.start("namesake", seeds=self.cast, port=9000, clock_off=clock_off, name=called)
        self.offered["namesake"] = set()

    @precondition(lambda self: len(self.running()) > 1)
    @rule(data=st.data(), lingers=st.booleans())
    def leave(self, data: st.DataObject, lingers: bool) -> None:
        name = self.draw(data, self.running())
        self.stage.do(name, lambda engine, now: engine.leave(now))
        if lingers:
            self.stage.advance(self.stage.settings.leave_linger)
        self.stage.crash(name)
        self.offered[name].clear()

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        self.stage.do(self.draw(data, self.running()), lambda engine, now: engine.drain(now))

    @rule(data=st.data(), both_ways=st.booleans())
    def cut(self, data: st.DataObject, both_ways: bool) -> None:
        everybody = sorted(self.stage.actors)
        one = set(data.draw(st.lists(st.sampled_from(everybody), min_size=1, max_size=len(everybody) - 1)))
        self.stage.cut(sorted(one), sorted(set(everybody) - one), both_ways=both_ways)

    @rule()
    def heal(self) -> None:
        self.stage.heal()

    @rule(loss=st.sampled_from([0.0, 0.3, 0.8]))
    def lose(self, loss: float) -> None:
        self.stage.loss = loss

    @precondition(lambda self: len(self.running()) > 1)
    @rule(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        self.stage.freeze(self.draw(data, self.running()))

    @precondition(lambda self: any(actor.frozen for actor in self.stage.alive))
    @rule(data=st.data())
    def thaw(self, data: st.DataObject) -> None:
        self.stage.thaw(self.draw(data, (actor.handle for actor in self.stage.alive if actor.frozen)))

    @rule(seconds=st.sampled_from([0.001, 0.02, 0.5, 2.0, 10.0]))
    def advance(self, seconds: float) -> None:
        self.stage.advance(seconds)

    # What always holds

    @invariant()
    def the_fingerprint_is_that_of_what_is_held(self) -> None:
        for actor in self.stage.actors.values():
            assert actor.engine.fingerprint == recomputed_fingerprint(actor)

    @invariant()
    def nobody_talks_junk(self) -> None:
        for actor in self.stage.actors.values():
            assert not actor.engine.counters["junk_packets"]
            assert not actor.engine.counters["junk_messages"]
            assert not actor.engine.counters["records_with_bad_payload"]

    @invariant()
    def versions_never_fall_while_a_table_stands(self) -> None:
        for actor in self.stage.actors.values():
            for table in actor.engine.state.registry.owners:
                _, before = self.versions.get(id(table), (table, {}))
                now = {record.id: record.version for record in table}
                assert all(now[key] >= before[key] for key in now.keys() & before.keys())
                self.versions[id(table)] = (table, now)

    def teardown(self) -> None:
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        stage.heal()
        stage.loss = 0.0
        for actor in stage.alive:
            if actor.frozen:
                stage.thaw(actor.handle)
        stage.advance(1.0)  # what is under way arrives
        stage.until(self.is_settled, within=SETTLED_WITHIN, step=1.0)
        stage.advance(10.0)
        assert self.is_settled(), "what has settled stays so"

    def believes(self, actor: Actor, name: str) -> bool:
        update = actor.engine.members.get(name)
        return update is not None and update.status is Status.ALIVE

    def is_settled(self) -> bool:
        """Whether all nodes know each other and what they offer, and believe in no other member.

        Of two nodes that run under one name the younger reports the conflict, and no other node sees it (0038).
        """
        stage = self.stage
        names = Counter(actor.name for actor in stage.alive)
        seen = [actor for actor in stage.alive if names[actor.name] == 1 or actor.engine.identity.conflict is None]
        here = {actor.name for actor in seen}
        offered = set().union(*(self.offered[actor.handle] for actor in seen))
        if len(here) < len(seen):
            return False  # two of one name, and neither reports it
        return len({actor.engine.fingerprint for actor in seen}) <= 1 and all(
            all(self.believes(actor, name) for name in here - {actor.name})
            and set(actor.engine.members.present) == here - {actor.name}
            and set(stage.lookup(actor.handle, "orders")) == offered
            for actor in seen
        )


def test_of_two_announced_nodes_of_one_name_the_younger_reports_the_conflict() -> None:
    """The member that is asked cannot be heard while the newcomer joins under its name."""
    chaos = Chaos()
    chaos.begin(3, 0)
    chaos.stage.start("namesake", seeds=chaos.cast, port=9000, name="a")
    chaos.offered["namesake"] = set()
    chaos.stage.cut(["a"], ["b", "c", "namesake"], both_ways=False)
    chaos.stage.advance(0.001)
    chaos.teardown()
    elder, younger = (chaos.stage.actors[handle].engine.identity for handle in ("a", "namesake"))
    assert (elder.conflict, younger.conflict) == (None, elder.address)


Chaos.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_chaos = Chaos.TestCase
