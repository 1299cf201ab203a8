"""What lookups return, and what counts as a change."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.changes import InstanceDiff
from gossipreg.model import PRIMARY, Health, Instance, ServiceCount, Status
from gossipreg.policy import Maintenance, Rule, Split, WeightOverride
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.registry import rows, service_view
from gossipreg.protocol.registry.choose import drawn_at
from gossipreg.protocol.registry.panic import Lost
from gossipreg.protocol.registry.payload import unpack_instance
from gossipreg.protocol.registry.records import Record
from gossipreg.protocol.registry.refresh import Refresh
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.roles import contenders
from gossipreg.protocol.registry.rows import CHUNK_ROWS, Row, Source, key_of
from gossipreg.protocol.registry.ruling import split
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.protocol.registry.view import View, first_index
from tests.protocol.making import BORN, instance, law, update


@attrs.define
class Seen:
    """A view over what owner ``b`` and owner ``c`` offer."""

    view: View = attrs.field(factory=lambda: View(BORN))
    registry: Registry = attrs.field(factory=lambda: Registry("b"))
    find_owner: dict[str, MemberUpdate] = attrs.field(factory=lambda: {"b": update("b")})

    def look(self) -> list[str]:
        found = lambda owner, generation: self.find_owner.get(owner)  # noqa: E731
        return self.view.refresh(self.registry.take_dirty(), self.registry, found)

    def stand(self, **changed: object) -> list[str]:
        self.find_owner["b"] = attrs.evolve(self.find_owner["b"], **changed)  # type: ignore[arg-type]
        self.registry.touch("b")
        return self.look()

    def offer(self, id_: str, **fields: Any) -> list[str]:
        self.registry.offer(instance(id_, **fields), BORN)
        return self.look()

    def delete(self, id_: str) -> list[str]:
        self.registry.delete(id_, BORN)
        return self.look()

    def ids(self, service: str = "orders") -> list[str]:
        return [instance.id for instance in self.view.service(service).healthy]


def test_a_service_without_instances_is_empty() -> None:
    view = View(BORN).service("orders")
    assert (view.index, view.instances, view.healthy, view.shares) == (BORN, (), (), ())


def test_an_index_is_raised_and_never_lowered_for_any_service() -> None:
    seen = Seen()
    seen.offer("x")
    seen.view.raise_to(BORN - 7)
    assert seen.view.service("orders").index == seen.view.highest == BORN + 1
    seen.view.raise_to(BORN + 100)
    for service in ("orders", "never offered"):
        assert seen.view.service(service).index == BORN + 100
    assert seen.ids() == ["x"]
    assert seen.offer("y") == ["orders"]
    assert seen.view.service("orders").index == BORN + 101


def test_a_generation_beyond_all_reason_leaves_indexes_that_json_can_say() -> None:
    assert first_index(BORN) == BORN * 1000
    assert first_index(2**53 - 1) + 10**12 < 2**53


def test_instances_are_in_order_with_running_weights() -> None:
    seen = Seen()
    seen.offer("y", weight=3)
    seen.offer("x", weight=2)
    view = seen.view.service("orders")
    assert [instance.id for instance in view.instances] == ["x", "y"]
    assert view.shares == (2, 5)


def test_an_instance_is_found_by_its_id_and_owner() -> None:
    seen = Seen()
    for id_ in ("y", "x"):
        seen.offer(id_)
    view = seen.view.service("orders")
    x, y = view.instances
    assert [view.find(each.id, each.owner) for each in (x, y)] == [x, y]
    assert view.find("x", f"{x.owner}-2") is None
    assert view.find("w", x.owner) is None
    assert view.find("z", x.owner) is None


@pytest.mark.parametrize(("status", "health"), [(Status.ALIVE, True), (Status.SUSPECT, True), (Status.FAILED, False)])
def test_an_owners_standing_is_its_instances_health(status: Status, health: bool) -> None:
    seen = Seen()
    seen.offer("x")
    seen.stand(status=status)
    [shown] = seen.view.service("orders").instances
    assert shown.health.can_serve is health
    assert seen.ids() == (["x"] if health else [])


def test_an_owner_that_left_or_is_unknown_has_no_instances() -> None:
    seen = Seen()
    seen.offer("x")
    assert seen.stand(status=Status.LEFT) == ["orders"]
    assert seen.view.service("orders").instances == ()
    seen.find_owner.clear()
    seen.registry.touch("b")
    assert seen.look() == []


def test_an_instance_of_a_draining_owner_has_weight_zero() -> None:
    seen = Seen()
    seen.offer("x", weight=7)
    assert seen.stand(draining=True) == ["orders"]
    assert [instance.weight for instance in seen.view.service("orders").healthy] == [0]
    assert seen.view.service("orders").shares == (0,)


def test_what_looks_the_same_is_no_change() -> None:
    seen = Seen()
    assert seen.offer("x") == ["orders"]
    before = seen.view.service("orders")
    assert seen.offer("x") == []
    assert seen.stand(status=Status.SUSPECT) == []
    assert seen.view.service("orders") is before


def test_what_was_handed_out_never_changes() -> None:
    seen = Seen()
    seen.offer("x")
    before = seen.view.service("orders")
    services = seen.view.services
    seen.offer("y")
    assert [instance.id for instance in before.instances] == ["x"]
    with pytest.raises(TypeError):
        services["orders"] = before  # type: ignore[index]


def test_a_service_that_lost_its_last_instance_keeps_its_index_but_is_not_counted() -> None:
    seen = Seen()
    seen.offer("x")
    index = seen.view.service("orders").index
    seen.delete("x")
    assert seen.view.service("orders").index > index
    assert seen.view.counts() == {}


def test_services_are_counted_with_those_that_can_serve() -> None:
    seen = Seen()
    seen.offer("x")
    seen.offer("y", service="billing")
    seen.stand(status=Status.FAILED)
    assert list(seen.view.counts().items()) == [("billing", ServiceCount(1, 0)), ("orders", ServiceCount(1, 0))]


def test_a_failed_owners_instances_are_critical() -> None:
    seen = Seen()
    seen.offer("x")
    seen.stand(status=Status.FAILED)
    [instance] = seen.view.service("orders").instances
    assert (instance.health, instance.reason) == (Health.CRITICAL, "its owner b has failed")


def test_empty_services_are_forgotten_in_the_end_but_no_index_ever_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gossipreg.protocol.registry.view._EMPTY_MAX", 4)
    seen = Seen()
    indices: dict[str, int] = {}
    for number in range(20):
        name = f"s{number % 11}"
        for step in (seen.offer, seen.delete):
            step("x", service=name) if step == seen.offer else step("x")
            now = seen.view.service(name).index
            assert now > indices.get(name, 0)
            indices[name] = now
    assert len(seen.view.services) <= 5
    assert all(seen.view.service(name).index >= index for name, index in indices.items())


def test_a_forgotten_service_leaves_the_highest_index_in_whatever_order_they_were_emptied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gossipreg.protocol.registry.view._EMPTY_MAX", 4)
    seen = Seen()
    names = ("first", "second", "third", "fourth")
    for name in names:
        seen.offer(name, service=name)
    for name in reversed(names):
        seen.delete(name)
    highest = seen.view.highest
    assert seen.offer("x", service="one-more") == ["one-more"]
    gone = [name for name in names if name not in seen.view.services]
    assert gone == ["first", "second"], "the one that was emptied last is forgotten first"
    for name in gone:
        assert seen.view.service(name).index == highest


@law
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("offer"), st.sampled_from("xy"), st.integers(0, 2)),
            st.tuples(st.just("delete"), st.sampled_from("xy"), st.just(0)),
            st.tuples(st.just("stand"), st.sampled_from(Status), st.integers(0, 1)),
        )
    )
)
def test_the_index_grows_with_each_visible_change_and_with_no_other(steps: list[tuple[str, object, int]]) -> None:
    seen = Seen()
    before = seen.view.service("orders")
    for verb, what, number in steps:
        table = seen.registry.table("b")
        if verb == "offer":
            changed = seen.offer(str(what), weight=number)
        elif verb == "stand":
            changed = seen.stand(status=what, draining=bool(number))
        elif table is not None and table.get(str(what)):
            changed = seen.delete(str(what))
        else:
            continue
        after = seen.view.service("orders")
        differs = after.instances != before.instances
        assert changed == (["orders"] if differs else [])
        assert (after.index > before.index) == differs
        before = after


def test_if_nothing_was_lost_a_panicking_lookup_has_those_that_can_serve() -> None:
    seen = Seen()
    seen.offer("x")
    view = seen.view.service("orders")
    assert view.to_call(1.0) == view.healthy


def test_a_share_that_is_just_the_threshold_is_no_panic() -> None:
    seen = Seen()
    for id_ in ("x", "y"):
        seen.offer(id_)
    view = attrs.evolve(seen.view.service("orders"), lost_set={("z", "c"): instance("z"), ("w", "c"): instance("w")})
    assert view.lost == Lost(0.5, view.to_call(1.0))
    assert view.to_call(0.5) == view.healthy
    assert [each.id for each in view.to_call(0.51)] == ["w", "x", "y", "z"]


def test_what_was_known_before_is_no_answer_where_something_is_known_now() -> None:
    seen = Seen()
    seen.offer("x")
    seen.view.recall({"orders": (instance("old"),), "users": (instance("u", service="users"),)})
    assert seen.ids() == ["x"]
    assert seen.ids("users") == ["u"]


def test_rules_hold_for_what_was_known_before_too() -> None:
    seen = Seen()
    seen.view.recall({"orders": (instance("old"), instance("out"))})
    out = Maintenance("orders", "out")
    seen.view.refresh(
        {"orders": None}, seen.registry, lambda owner, generation: None, (), lambda service: {out.key: out}
    )
    assert seen.ids() == ["old"]


def big(count: int) -> Seen:
    """A view over ``count`` instances of one service, whose ids leave room between them."""
    seen = Seen()
    for number in range(count):
        seen.registry.offer(instance(f"{number:05}"), BORN)
    seen.look()
    return seen


@pytest.mark.parametrize("count", [500, 5000])
def test_one_change_looks_at_one_record_however_large_the_service(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = big(count)
    looked_at: list[str] = []
    original = Refresh._visible

    def counted(self: Refresh, record: Record | None, rules: Any) -> Instance | None:
        looked_at.append("" if record is None else record.id)
        return original(self, record, rules)

    monkeypatch.setattr(Refresh, "_visible", counted)
    before = seen.view.service("orders")
    assert seen.offer("00250", weight=3) == ["orders"]
    assert seen.offer("00250a") == ["orders"]
    assert seen.delete("00251") == ["orders"]
    assert looked_at == ["00250", "00250a", ""]
    shared = {id(chunk) for chunk in before.rows.chunks}
    copied = [chunk for chunk in seen.view.service("orders").rows.chunks if id(chunk) not in shared]
    assert [len(chunk.sources) for chunk in copied] == [CHUNK_ROWS]


def test_instances_are_decoded_when_they_are_looked_up_and_then_stay_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def unpack(payload: bytes, *, id: str, owner: str) -> Instance:
        decoded.append(id)
        return unpack_instance(payload, id=id, owner=owner)

    monkeypatch.setattr("gossipreg.protocol.registry.records.unpack_instance", unpack)
    told = Registry("b")
    seen = Seen(registry=Registry("me"))

    def offer(id_: str, **fields: Any) -> None:
        record = told.offer(instance(id_, owner="b", **fields), BORN)[0]
        seen.registry.apply(attrs.evolve(record))
        seen.look()

    def decoded_now() -> list[str]:
        ids = decoded[:]
        decoded.clear()
        return ids

    def held() -> int:
        return sum(_is_decoded(record) for record in seen.registry.table("b") or ())

    for number in range(300):
        offer(f"{number:03}")
    assert held() == 0
    assert decoded_now() == [f"{number:03}" for number in range(300)], "each is decoded once, to see that it is sound"
    assert seen.view.counts()["orders"] == ServiceCount(300, 300)
    assert seen.view.service("orders").find("007", "b") is not None
    assert decoded_now() == ["007"]
    assert len(seen.view.service("orders").healthy) == 300
    assert len(decoded_now()) == 299
    assert seen.view.service("orders").at(0.5) is not None
    offer("008", weight=3)
    assert len(seen.view.service("orders").healthy) == 300
    assert decoded_now() == ["008"]
    assert held() == 300


def _is_decoded(record: Record) -> bool:
    try:
        Record.instance.__get__(record)
    except AttributeError:
        return False
    return True


@attrs.define
class Scene:
    """All that a view is made of, for a few owners that offer the same ids."""

    registry: Registry = attrs.field(factory=lambda: Registry("me"))
    tables: dict[str, Registry] = attrs.field(factory=dict)
    owners: dict[str, MemberUpdate] = attrs.field(factory=dict)
    failed_at: dict[str, float] = attrs.field(factory=dict)
    deprioritized: dict[str, None] = attrs.field(factory=dict)
    rules: dict[str, Rule] = attrs.field(factory=dict)
    term: int = 0

    def look(self, view: View, dirty: Mapping[str, Collection[tuple[str, str]] | None]) -> list[str]:
        return view.refresh(
            dirty,
            self.registry,
            lambda owner, _: self.owners.get(owner),
            self.deprioritized,
            lambda _: self.rules,
            since=self.failed_at.get,
            highest_term=lambda _: self.term,
        )

    def act(self, verb: str, owner: str, number: int, fields: dict[str, Any]) -> None:
        """Change one thing, and have the registry note what must be looked at."""
        told = self.tables.setdefault(owner, Registry(owner))
        id_ = f"i{number}"
        if verb == "offer":
            self.registry.apply(told.offer(instance(id_, **fields), BORN)[0])
        elif verb == "delete":
            table = told.table(owner)
            if table is not None and table.get(id_) is not None:
                self.registry.apply(told.delete(id_, BORN)[0])
        elif verb == "rule":
            rule = fields["rule"]
            if self.rules.get(rule.key) == rule:
                del self.rules[rule.key]
            else:
                self.rules[rule.key] = rule
            self.registry.touch_rule(rule)
        elif verb == "term":
            self.term += 1
            self.registry.touch_term("orders")
        else:
            self.owners[owner] = update(owner, fields["status"], draining=fields["draining"])
            self.failed_at[owner] = 50.0 * number
            self.deprioritized.pop(owner, None)
            if fields["deprioritized"]:
                self.deprioritized[owner] = None
            self.registry.touch(owner)


_numbers = st.integers(0, 3)
_rules = st.one_of(
    st.builds(Maintenance, st.just("orders"), _numbers.map("i{}".format), owner=st.sampled_from(["", "b"])),
    st.builds(WeightOverride, st.just("orders"), _numbers.map("i{}".format), st.integers(0, 3)),
    st.builds(Split, st.just("orders"), st.just({"v1": 1, "v2": 2}), by=st.just("tag")),
)
_offers = st.fixed_dictionaries(
    {
        "weight": st.integers(0, 2),
        "role": st.sampled_from([None, PRIMARY, "replica"]),
        "term": st.integers(0, 2),
        "tags": st.sampled_from([("v1",), ("v2",), ()]),
        "health": st.sampled_from([Health.PASSING, Health.WARNING, Health.CRITICAL]),
    }
)
_states = st.fixed_dictionaries(
    {"status": st.sampled_from(Status), "draining": st.booleans(), "deprioritized": st.booleans()}
)
_owner_names = st.sampled_from(["b", "c", "d"])
_acts: st.SearchStrategy[tuple[str, str, int, Any]] = st.one_of(
    st.tuples(st.just("offer"), _owner_names, _numbers, _offers),
    st.tuples(st.just("delete"), _owner_names, _numbers, st.just({})),
    st.tuples(st.just("rule"), _owner_names, _numbers, st.fixed_dictionaries({"rule": _rules})),
    st.tuples(st.just("term"), _owner_names, _numbers, st.just({})),
    st.tuples(st.just("state"), _owner_names, _numbers, _states),
)


@law
@given(st.lists(st.lists(_acts, min_size=1, max_size=4), max_size=12))
def test_what_is_refreshed_bit_by_bit_is_what_is_made_anew(batches: list[list[tuple[str, str, int, Any]]]) -> None:
    scene = Scene()
    view = View(BORN)
    for batch in batches:
        for act in batch:
            scene.act(*act)
        before = view.service("orders")
        changed = scene.look(view, scene.registry.take_dirty())
        after = view.service("orders")
        anew = View(BORN)
        scene.look(anew, {"orders": None})
        whole = anew.service("orders")
        assert (after.instances, after.healthy, after.lost) == (whole.instances, whole.healthy, whole.lost)
        assert after.contenders == whole.contenders == contenders(whole.healthy)
        assert [after.find(each.id, each.owner) for each in after.instances] == list(after.instances)
        assert view.counts() == anew.counts()
        assert after.at(0.3) == drawn_at(0.3, whole.healthy, whole.shares)
        for asked in ({}, {"healthy": False}, {"panic": 0.6}):
            told = {"healthy": True, "panic": 0.0} | asked
            diff = InstanceDiff.between(before.reported(**told), after.reported(**told))
            assert after.changes_since(before, **asked) == diff
        differs = (after.instances, after.healthy, after.lost) != (before.instances, before.healthy, before.lost)
        assert changed == (["orders"] if differs else [])
        assert (after.index > before.index) == differs


def test_a_split_that_comes_or_goes_changes_the_weights_of_the_list_and_of_what_is_told() -> None:
    plain = ServiceView.of(1, [instance("a", tags=("v1",)), instance("b", tags=("v2",))])
    ruled = attrs.evolve(plain, rule=Split("orders", {"v1": 3, "v2": 1}))
    assert ruled.instances == ruled.healthy == split(plain.healthy, Split("orders", {"v1": 3, "v2": 1}))
    assert ruled.instances != plain.instances
    for before, after in ((plain, ruled), (ruled, plain)):
        diff = InstanceDiff.between(before.healthy, after.healthy)
        assert diff.changed
        assert after.changes_since(before) == diff


def test_one_that_is_deferred_without_a_trace_in_the_list_is_a_change() -> None:
    scene = Scene()
    view = View(BORN)
    for owner in ("b", "c"):
        scene.act("offer", owner, 0, {"health": Health.WARNING, "reason": "disk: full"})
        scene.act("state", owner, 0, {"status": Status.ALIVE, "draining": False, "deprioritized": False})
    scene.look(view, scene.registry.take_dirty())
    before = view.service("orders")
    scene.act("state", "b", 0, {"status": Status.SUSPECT, "draining": False, "deprioritized": True})
    assert scene.look(view, scene.registry.take_dirty()) == ["orders"]
    after = view.service("orders")
    assert after.instances == before.instances
    assert [each.owner for each in after.healthy] == ["c"]
    scene.act("state", "c", 0, {"status": Status.SUSPECT, "draining": False, "deprioritized": True})
    assert scene.look(view, scene.registry.take_dirty()) == ["orders"], "all are deferred, so all are called again"
    assert len(view.service("orders").healthy) == 2


def test_of_what_two_views_share_nothing_is_decoded_to_tell_them_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Source] = []

    def decoded(source: Source) -> Instance:
        looked_at.append(source)
        return rows.decoded(source)

    monkeypatch.setattr(service_view, "decoded", decoded)
    before = ServiceView.of(1, [instance(f"i{number:03}") for number in range(200)])
    changed = instance("i100", weight=9)
    after = attrs.evolve(before, rows=before.rows.replaced({key_of(changed): Row(changed, changed)}))
    assert after.changes_since(before).changed == (changed,)
    assert len(looked_at) == 2
