"""Watches compare what they reported with what is there: a snapshot, then diffs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.errors import GossipregError, NameConflict
from gossipreg.events import CheckEvent, Event, InstanceEvent, MemberEvent, NodeEvent, RoleEvent, Snapshot
from gossipreg.model import FENCED, PRIMARY, Address, Health, Instance, Member, Status
from gossipreg.protocol.registry.service_view import ServiceView
from gossipreg.protocol.registry.view import View
from gossipreg.runtime import change_log as changes_module
from gossipreg.runtime.change_log import ChangeLog
from gossipreg.runtime.watches import EventWatch, ServiceWatch


def instance(
    number: int, *, service: str = "orders", weight: int = 1, owner: str = "ann", sick: bool = False
) -> Instance:
    health = Health.CRITICAL if sick else Health.PASSING
    return Instance(
        id=f"i-{number}", service=service, host="10.0.0.1", port=80, weight=weight, owner=owner, health=health
    )


def member(name: str, status: Status = Status.ALIVE, **change_log: Any) -> Member:
    return attrs.evolve(Member(name, Address("10.0.0.1", 1), status, generation=1, incarnation=0), **change_log)


@attrs.define
class Board:
    """What there is to see, changed by hand."""

    view: View = attrs.field(factory=lambda: View(0))
    change_log: ChangeLog = attrs.field(factory=ChangeLog)
    members: dict[str, Member] = attrs.field(factory=dict)
    checks: dict[str, CheckEvent] = attrs.field(factory=dict)
    failure: GossipregError | None = None
    isolated: bool = False

    def registration(self, *instances: Instance, service: str = "orders") -> None:
        """The service has just these instances from now on."""
        healthy = tuple(each for each in instances if each.health.can_serve)
        index = self.view.service(service).index + 1
        self.view._services[service] = ServiceView.of(index, instances, healthy)
        self.change_log.write([("service", service)])

    def believe(self, *members: Member) -> None:
        """This is believed of these members from now on."""
        for each in members:
            self.members[each.name] = each
        self.change_log.write([("member", each.name) for each in members])

    def flap(self, kind: Literal["flapping", "steady"], service: str = "orders") -> CheckEvent:
        """A check of our own begins or ceases to flap."""
        event = self.checks["i-1 http"] = CheckEvent(kind, "i-1", service, "http", Health.CRITICAL)
        self.change_log.write([("check", "i-1 http")])
        return event

    def forget(self, name: str) -> None:
        """The member is remembered no more."""
        del self.members[name]
        self.change_log.write([("member", name)])

    def watch(self, service: str = "orders") -> ServiceWatch:
        return ServiceWatch(service, self.view, self.change_log, lambda: self.failure)

    def events(self, service: str | None = None, *, healthy: bool = True) -> EventWatch:
        all_members = lambda: tuple(self.members.values())  # noqa: E731 - two short looks at the same dict
        return EventWatch(
            service,
            self.view,
            self.members.get,
            all_members,
            self.checks.get,
            lambda: [name for name, event in self.checks.items() if event.kind == "flapping"],
            self.change_log,
            lambda: NodeEvent("isolated" if self.isolated else "heard", "me", 0.5),
            lambda: self.failure,
            healthy=healthy,
        )


@pytest.fixture
def board() -> Board:
    return Board()


# One service


async def test_the_first_step_is_a_snapshot_even_of_nothing(board: Board) -> None:
    change = await anext(board.watch())
    assert (change.snapshot, change.service, change.instances, change.added) == (True, "orders", (), ())


async def test_later_steps_say_what_came_changed_and_went_and_the_whole_of_it(board: Board) -> None:
    board.registration(instance(1), instance(2))
    watch = board.watch()
    snapshot = await anext(watch)
    assert (snapshot.snapshot, snapshot.added) == (True, (instance(1), instance(2)))
    board.registration(instance(2, weight=9), instance(3))
    step = await anext(watch)
    assert (step.snapshot, step.added, step.changed, step.removed) == (
        False,
        (instance(3),),
        (instance(2, weight=9),),
        (instance(1),),
    )
    assert step.instances == (instance(2, weight=9), instance(3))
    assert step.index > snapshot.index


async def test_an_instance_that_can_no_longer_serve_has_gone_for_a_watcher(board: Board) -> None:
    board.registration(instance(1))
    watch = board.watch()
    await anext(watch)
    board.registration(instance(1, sick=True))
    assert (await anext(watch)).removed == (instance(1),)
    board.registration(instance(1))
    assert (await anext(watch)).added == (instance(1),)


async def test_the_same_id_at_two_owners_is_two_instances(board: Board) -> None:
    board.registration(instance(1))
    watch = board.watch()
    await anext(watch)
    board.registration(instance(1), instance(1, owner="bob"))
    assert (await anext(watch)).added == (instance(1, owner="bob"),)


async def test_a_slow_watcher_skips_what_came_and_went_meanwhile(board: Board) -> None:
    board.registration(instance(1))
    watch = board.watch()
    await anext(watch)
    board.registration(instance(1), instance(2))
    board.registration(instance(1))
    board.registration(instance(3))
    step = await anext(watch)
    assert (step.added, step.removed) == ((instance(3),), (instance(1),))


async def test_what_does_not_concern_a_watcher_does_not_wake_it(board: Board, nursery: trio.Nursery) -> None:
    watch = board.watch()
    await anext(watch)
    steps: list[Sequence[Instance]] = []

    async def take_one() -> None:
        steps.append((await anext(watch)).instances)

    nursery.start_soon(take_one)
    await trio.testing.wait_all_tasks_blocked()
    board.registration(instance(1, service="stock"), service="stock")
    board.registration(instance(1, sick=True))
    board.believe(member("ann"))
    await trio.testing.wait_all_tasks_blocked()
    assert steps == []
    board.registration(instance(1))
    await trio.testing.wait_all_tasks_blocked()
    assert steps == [(instance(1),)]


async def test_a_watch_ends_when_the_node_closes_and_says_what_closed_it(board: Board) -> None:
    watch, other = board.watch(), board.watch()
    await anext(watch)
    board.change_log.close()
    assert [step async for step in watch] == []
    board.failure = NameConflict("another has the name")
    with pytest.raises(NameConflict):
        await anext(other)


instances = st.builds(instance, st.integers(1, 4), weight=st.integers(1, 2), sick=st.booleans())
tables = st.lists(instances, unique_by=lambda each: each.id).map(tuple)


@given(history=st.lists(tables, min_size=1), pace=st.data())
def test_the_diffs_always_lead_to_what_is_there(history: list[tuple[Instance, ...]], pace: st.DataObject) -> None:
    async def follow() -> None:
        board = Board()
        watch, events = board.watch(), board.events()
        seen: dict[str, Instance] = {}
        told: dict[str, Instance] = {}
        await anext(watch)
        await anext(events)
        for table in history:
            board.registration(*table)
            if pace.draw(st.booleans()):
                with trio.move_on_after(0):
                    step = await anext(watch)
                    _apply(seen, [*step.added, *step.changed], step.removed)
                    assert set(seen.values()) == set(step.instances)
                with trio.move_on_after(0):
                    for event in await anext(events):
                        assert isinstance(event, InstanceEvent)
                        gone = event.kind == "removed"
                        _apply(told, () if gone else [event.instance], [event.instance] if gone else ())
                healthy = {each.id: each for each in table if each.health.can_serve}
                assert seen == told == healthy

    trio.run(follow)


def _apply(seen: dict[str, Instance], here: Iterable[Instance], gone: Iterable[Instance]) -> None:
    for each in gone:
        del seen[each.id]
    seen |= {each.id: each for each in here}


# Everything


async def batch(events: EventWatch) -> list[tuple[str, str]]:
    """The next batch: kinds and names."""
    return [_brief(event) for event in await anext(events)]


def _brief(event: Event) -> tuple[str, str]:
    match event:
        case InstanceEvent():
            return event.kind, event.instance.id
        case MemberEvent():
            return event.kind, event.member.name
        case CheckEvent():
            return event.kind, event.check
        case RoleEvent():
            return event.kind, ",".join(each.id for each in event.contenders)
        case NodeEvent():
            return event.kind, event.name
        case Snapshot():
            return "snapshot", f"{len(event.members)} members, {len(event.instances)} instances"


async def test_events_begin_with_a_snapshot_of_members_and_healthy_instances(board: Board) -> None:
    board.believe(member("ann"), member("bob", Status.FAILED))
    board.registration(instance(1), instance(2, sick=True))
    board.registration(instance(3, service="stock"), service="stock")
    [snapshot] = await anext(board.events())
    assert snapshot == Snapshot(
        (member("ann"), member("bob", Status.FAILED)), (instance(1), instance(3, service="stock"))
    )


async def test_events_of_all_instances_report_one_that_can_no_longer_serve_as_changed(board: Board) -> None:
    board.registration(instance(1), instance(2, sick=True))
    events = board.events(healthy=False)
    [snapshot] = await anext(events)
    assert isinstance(snapshot, Snapshot)
    assert [each.id for each in snapshot.instances] == ["i-1", "i-2"]
    board.registration(instance(1, sick=True), instance(2, sick=True))
    [event] = await anext(events)
    assert event == InstanceEvent("changed", instance(1, sick=True))
    assert isinstance(event, InstanceEvent)
    assert event.before == instance(1)
    board.registration(instance(2, sick=True))
    assert await batch(events) == [("removed", "i-1")]


async def test_events_of_one_service_leave_out_the_others_but_no_member(board: Board) -> None:
    board.registration(instance(3, service="stock"), service="stock")
    events = board.events("orders")
    assert await batch(events) == [("snapshot", "0 members, 0 instances")]
    board.registration(instance(3, service="stock", weight=2), service="stock")
    board.registration(instance(1))
    board.believe(member("ann"))
    assert sorted(await batch(events)) == [("added", "i-1"), ("joined", "ann")]


async def test_that_the_node_is_isolated_is_told_once_and_to_newcomers_after_their_snapshot(board: Board) -> None:
    first = board.events("orders")
    await anext(first)
    board.isolated = True
    board.change_log.write([("node", "me")])
    assert await batch(first) == [("isolated", "me")]
    second = board.events()
    await anext(second)
    assert await batch(second) == [("isolated", "me")]
    board.isolated = False
    board.change_log.write([("node", "me")])
    assert await batch(first) == await batch(second) == [("heard", "me")]


async def test_every_turn_of_a_member_has_its_word(board: Board) -> None:
    events = board.events()
    await anext(events)
    turns = [
        (member("ann"), "joined"),
        (member("ann", Status.SUSPECT), "suspect"),
        (member("ann"), "alive"),
        (member("ann", Status.FAILED), "failed"),
        (member("ann", incarnation=1), "alive"),
        (member("ann", incarnation=2, draining=True), "alive"),
        (member("ann", generation=2), "joined"),
        (member("ann", generation=2, address=Address("10.0.0.2", 1)), "joined"),
        (member("ann", Status.LEFT, generation=3), "left"),
    ]
    for turn, word in turns:
        board.believe(turn)
        assert await batch(events) == [(word, "ann")]


async def test_a_change_that_was_never_visible_is_not_reported(board: Board, nursery: trio.Nursery) -> None:
    board.believe(member("ann"), member("bob", Status.FAILED))
    events = board.events()
    await anext(events)
    board.believe(member("ann", incarnation=7))
    board.forget("bob")
    board.registration(instance(1, sick=True))
    board.believe(member("cid"))
    assert await batch(events) == [("joined", "cid")]


async def test_a_present_member_that_is_forgotten_has_left(board: Board) -> None:
    board.believe(member("ann"))
    events = board.events()
    await anext(events)
    board.forget("ann")
    assert await batch(events) == [("left", "ann")]


async def test_one_that_fell_far_behind_looks_at_everything_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.believe(member("ann"), member("bob"))
    board.registration(instance(1))
    events = board.events()
    await anext(events)
    board.believe(member("ann", Status.FAILED))
    board.forget("bob")
    board.registration(instance(2))
    board.registration(instance(3, service="stock"), service="stock")
    for _ in range(changes_module._KEPT):
        board.change_log.write([("member", "ann")])
    assert sorted(await batch(events)) == [
        ("added", "i-2"),
        ("added", "i-3"),
        ("failed", "ann"),
        ("left", "bob"),
        ("removed", "i-1"),
    ]


async def test_events_end_when_the_node_closes_and_say_what_closed_it(board: Board) -> None:
    events, other = board.events(), board.events()
    await anext(events)
    await anext(other)
    board.change_log.close()
    assert [each async for each in events] == []
    board.failure = NameConflict("another has the name")
    with pytest.raises(NameConflict):
        await anext(other)


async def test_a_check_that_flaps_is_told_of_once_and_once_when_it_is_steady() -> None:
    board = Board()
    events = board.events()
    await anext(events)
    flapping = board.flap("flapping")
    assert await anext(events) == (flapping,)
    board.flap("flapping")
    steady = board.flap("steady")
    assert await anext(events) == (steady,)
    board.flap("steady")
    elsewhere = board.flap("flapping", service="billing")
    assert await anext(events) == (elsewhere,)


async def test_a_check_of_another_service_is_not_told_of() -> None:
    board = Board()
    events = board.events("orders")
    await anext(events)
    board.flap("flapping", service="billing")
    board.believe(member("bob"))
    assert [type(event) for event in await anext(events)] == [MemberEvent]


async def test_a_watcher_that_fell_far_behind_still_hears_of_flapping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "_KEPT", 2)
    board = Board()
    events = board.events()
    await anext(events)
    flapping = board.flap("flapping")
    for number in range(5):
        board.registration(instance(number), service="stock")
    assert flapping in await anext(events)


# Which instance is the primary


def claim(number: int, term: int = 0, *, sick: bool = False, role: str = FENCED) -> Instance:
    """An instance that claims to be primary: fenced, unless the view sees it as what it claims to be."""
    return attrs.evolve(instance(number, owner=f"m{number}", sick=sick), role=role, term=term)


def primary(number: int, term: int = 0, *, sick: bool = False) -> Instance:
    return claim(number, term, sick=sick, role=PRIMARY)


async def told(events: EventWatch) -> list[RoleEvent]:
    """What the next batch says of roles."""
    return [event for event in await anext(events) if isinstance(event, RoleEvent)]


async def test_a_service_with_two_that_claim_to_be_its_primary_is_told_of_and_when_it_has_one_again(
    board: Board,
) -> None:
    board.registration(primary(1, 1))
    events = board.events()
    await anext(events)
    board.registration(claim(1, 1), primary(2, 2))
    assert await told(events) == [RoleEvent("contested", "orders", primary(2, 2), (primary(2, 2), claim(1, 1)))]
    board.registration(claim(1, 1), attrs.evolve(primary(2, 2), weight=9))
    assert await told(events) == []
    board.registration(claim(1, 1), primary(2, 2), claim(3))
    assert [event.kind for event in await told(events)] == ["contested"]
    board.registration(instance(1, owner="m1"), primary(2, 2))
    assert await told(events) == [RoleEvent("settled", "orders", primary(2, 2), (primary(2, 2),))]
    board.registration(instance(1, owner="m1"), attrs.evolve(primary(2, 2), weight=3))
    assert await told(events) == []


async def test_a_claim_that_cannot_serve_contests_nothing(board: Board) -> None:
    events = board.events()
    await anext(events)
    board.registration(claim(1, 1, sick=True), primary(2, 2))
    assert await told(events) == []


async def test_those_below_a_primary_that_cannot_serve_have_none(board: Board) -> None:
    events = board.events()
    await anext(events)
    board.registration(primary(1, 3), claim(2, 2), claim(3, 1))
    await anext(events)
    board.registration(primary(1, 3, sick=True), claim(2, 2), claim(3, 1))
    assert await told(events) == [RoleEvent("contested", "orders", None, (claim(2, 2), claim(3, 1)))]
    board.registration(primary(1, 3, sick=True), claim(2, 2))
    assert await told(events) == [RoleEvent("settled", "orders", None, (claim(2, 2),))]


async def test_the_end_of_a_primary_conflict_from_before_the_snapshot_is_reported(board: Board) -> None:
    board.registration(claim(1, 1), primary(2, 2))
    events = board.events()
    await anext(events)
    board.registration(claim(1, 1), attrs.evolve(primary(2, 2), weight=9))
    assert await told(events) == []
    board.registration(primary(2, 2))
    assert [event.kind for event in await told(events)] == ["settled"]


async def test_a_primary_conflict_of_another_service_is_not_reported(board: Board) -> None:
    events = board.events("stock")
    await anext(events)
    board.registration(claim(1, 1), primary(2, 2))
    board.registration(instance(1, service="stock"), service="stock")
    assert await batch(events) == [("added", "i-1")]


async def test_a_watcher_that_fell_far_behind_gets_the_present_primary_conflict(board: Board) -> None:
    events = board.events()
    await anext(events)
    board.registration(claim(1, 1), primary(2, 2))
    for _ in range(changes_module._KEPT + 1):
        board.change_log.write([("service", "stock")])
    assert [event.kind for event in await told(events)] == ["contested"]
    board.registration()
    for _ in range(changes_module._KEPT + 1):
        board.change_log.write([("service", "stock")])
    assert await told(events) == [RoleEvent("settled", "orders", None, ())]
