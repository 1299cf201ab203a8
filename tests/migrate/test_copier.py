"""A copier follows its source, keeps copies while the source is away, and says each thing once."""

from __future__ import annotations

import attrs
import pytest

from gossipreg.migrate.copier import EMPTY_SECONDS, Copier
from gossipreg.migrate.plan import plan
from gossipreg.migrate.registry import ListedInstance
from tests.migrate.fake_registry import FakeRegistry, original


@attrs.define
class Told:
    """What was reported: events with ids."""

    events: list[tuple[str, str]] = attrs.field(factory=list)

    def __call__(self, what: str, instance: ListedInstance | None, detail: str) -> None:
        self.events.append((what, detail if instance is None else instance.id))

    def names(self) -> list[str]:
        return [what for what, _ in self.events]


@pytest.fixture
def old() -> FakeRegistry:
    return FakeRegistry("consul:dc1")


@pytest.fixture
def new() -> FakeRegistry:
    return FakeRegistry("gossipreg:main")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def copier(old: FakeRegistry, new: FakeRegistry, told: Told) -> Copier:
    return Copier(old, new, told, seconds=30)


def test_what_is_there_is_copied_once_and_followed(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("a"), original("b"))
    copier.round(0)
    copier.round(1)
    assert new.copies == {"a": "consul:dc1", "b": "consul:dc1"}
    old.hold(original("a", meta={"version": "2"}), original("c"))
    old.drop("b")
    copier.round(2)
    assert new.copies.keys() == {"a", "c"}
    assert new.held["orders", "a"].record["meta"] == {"version": "2"}
    assert told.events == [("copied", "a"), ("copied", "b"), ("changed", "a"), ("copied", "c"), ("removed", "b")]


def test_health_is_carried_at_once_and_a_copy_is_renewed_in_time(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("a"))
    copier.round(0)
    new.calls.clear()
    copier.round(5)
    assert new.calls == [], "it is not due yet"
    old.hold(original("a", health="critical", reason="no answer"))
    copier.round(6)
    assert new.held["orders", "a"].health == "critical"
    assert new.held["orders", "a"].reason == "no answer"
    new.calls.clear()
    copier.round(16)
    assert new.calls == [("renew", "a")]
    assert told.names() == ["copied", "health"]


def test_a_copy_that_was_taken_away_is_written_again(copier: Copier, old: FakeRegistry, new: FakeRegistry) -> None:
    old.hold(original("a"))
    copier.round(0)
    new.drop("a")
    copier.round(100)
    assert "a" in new.copies


def test_while_the_source_is_away_its_copies_are_kept_and_it_is_said_once(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("a"))
    copier.round(0)
    old.is_away = True
    for now in range(10, 200, 10):
        copier.round(now)
    assert "a" in new.copies
    assert new.calls.count(("renew", "a")) > 10, "they are renewed, or they would lapse"
    assert told.names() == ["copied", "source lost"]
    assert "its copies are kept" in told.events[1][1]
    old.is_away = False
    copier.round(200)
    assert told.names() == ["copied", "source lost", "source back"]


def test_while_the_target_is_away_it_is_said_once_and_made_up_for(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("a"))
    new.is_away = True
    copier.round(0)
    copier.round(1)
    new.is_away = False
    copier.round(2)
    assert told.names() == ["target lost", "copied", "target back"]


def test_a_source_that_seems_to_have_lost_everything_is_not_believed_at_once(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("a"), original("b"))
    copier.round(0)
    old.drop("a", "b")
    copier.round(1)
    new.calls.clear()
    copier.round(EMPTY_SECONDS)
    assert len(new.copies) == 2
    assert ("renew", "a") in new.calls, "until then they must not lapse"
    old.hold(original("a"), original("b"))
    copier.round(EMPTY_SECONDS + 1)
    old.drop("a", "b")
    copier.round(EMPTY_SECONDS + 2)
    copier.round(2 * EMPTY_SECONDS + 3)
    assert new.copies == {}
    assert told.names().count("source empty") == 2


def test_a_source_that_still_lists_our_copies_has_lost_nothing(
    copier: Copier, old: FakeRegistry, new: FakeRegistry
) -> None:
    old.hold(original("a"), attrs.evolve(original("b"), origin="gossipreg:main"))
    copier.round(0)
    old.drop("a")
    copier.round(1)
    assert new.copies == {}


def test_one_that_has_moved_is_left_to_itself(copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told) -> None:
    old.hold(original("a"), original("b"))
    copier.round(0)
    moved = original("a")
    new.hold(moved)
    copier.round(1)
    copier.round(2)
    assert new.held["orders", "a"] == moved
    assert ("skipped", "a") in told.events
    assert told.names().count("skipped") == 1
    old.drop("a")
    copier.round(3)
    assert new.held["orders", "a"] == moved, "it is no copy, and stays"


def test_one_that_is_refused_is_said_once_and_the_others_are_copied(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    new.refuses = frozenset({"b"})
    old.hold(original("a"), original("b"), original("c"))
    copier.round(0)
    copier.round(1)
    assert new.copies.keys() == {"a", "c"}
    assert [id_ for what, id_ in told.events if what == "skipped"] == ["b"]


def test_a_copy_that_the_target_does_not_list_yet_is_not_written_again_at_once(
    copier: Copier, old: FakeRegistry, new: FakeRegistry
) -> None:
    old.hold(original("a"))
    copier.round(0)
    new.calls.clear()
    new.hides = frozenset({"a"})
    copier.round(20)
    assert new.calls == [("renew", "a")]


def test_both_ways_nothing_comes_back(old: FakeRegistry, new: FakeRegistry, told: Told) -> None:
    there, back = Copier(old, new, told, 30), Copier(new, old, told, 30)
    old.hold(original("a"))
    new.hold(original("b"))
    for now in range(5):
        there.round(now)
        back.round(now)
    assert new.copies == {"a": "consul:dc1"}
    assert old.copies == {"b": "gossipreg:main"}
    assert told.events == [("copied", "a"), ("copied", "b")]
    old.drop("a")
    old.hold(original("c"))
    there.round(6)
    back.round(6)
    assert new.copies == {"c": "consul:dc1"}
    assert old.copies == {"b": "gossipreg:main"}


def test_both_ways_one_that_moves_is_there_all_the_time(old: FakeRegistry, new: FakeRegistry, told: Told) -> None:
    there, back = Copier(old, new, told, 30), Copier(new, old, told, 30)
    old.hold(original("a"), original("z"))
    for now in range(4):
        if now == 1:
            new.hold(original("a"))
        if now == 2:
            old.drop("a")
        there.round(now)
        back.round(now)
        for side in (old, new):
            assert len([each for each in side.held.values() if each.id == "a"]) == 1
    assert "a" not in new.copies
    assert old.copies == {"a": "gossipreg:main"}


def test_a_dry_run_changes_nothing(old: FakeRegistry, new: FakeRegistry, told: Told) -> None:
    old.hold(original("a"))
    new.hold(attrs.evolve(original("b"), origin="consul:dc1"))
    Copier(old, new, told, None, dry=True).round(0)
    assert new.calls == []
    assert told.events == [("would copy", "a"), ("would remove", "b")]


def test_without_following_a_copy_is_to_stay(old: FakeRegistry, new: FakeRegistry, told: Told) -> None:
    old.hold(original("a"))
    Copier(old, new, told, None).round(0)
    assert new.lasting == {"a": None}


def test_a_copy_that_another_node_holds_is_not_said_to_be_removed(
    copier: Copier, old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("b"))
    new.hold(original("a", origin="consul:dc1", node="other"), original("c", origin="consul:dc1"))
    new.elsewhere = frozenset({"c"})
    copier.round(0)
    copier.round(1)
    copier.round(200)
    assert new.copies.keys() == {"a", "b", "c"}
    assert sorted(told.events) == [("copied", "b"), ("skipped", "a"), ("skipped", "c")]
    assert ("remove", "a") not in new.calls


def test_of_two_copies_at_two_nodes_the_one_that_is_held_here_is_removed(
    old: FakeRegistry, new: FakeRegistry, told: Told
) -> None:
    old.hold(original("b"))
    mine, other = original("a", origin="consul:dc1"), original("a", origin="consul:dc1", node="other")
    new.hold(mine)
    for listed in ([mine, other], [other, mine]):
        assert [each.node for each in plan(old.instances(), listed, "consul:dc1").remove] == [e.node for e in listed]
    dry = Copier(old, new, told, seconds=None, dry=True)
    new.hold(other)
    dry.round(0)
    assert told.events == [("would copy", "b"), ("skipped", "a")]
