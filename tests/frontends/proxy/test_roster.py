from __future__ import annotations

from gossipreg.frontends.proxy.roster import Roster
from gossipreg.model import InstanceEvent, Snapshot, Status
from tests.frontends.proxy.making import added, instance, member, removed, seen, snapshot


def test_a_snapshot_replaces_everything() -> None:
    roster = Roster()
    roster.hear([snapshot(instance("a")), snapshot(instance("b"))])
    assert roster.instances == (instance("b"),)


def test_instances_come_change_and_go() -> None:
    roster = Roster()
    roster.hear([snapshot(), added(instance("a")), InstanceEvent("changed", instance("a", weight=5))])
    assert roster.instances == (instance("a", weight=5),)
    roster.hear([removed(instance("a")), removed(instance("a"))])
    assert not roster.instances


def test_two_owners_may_use_one_id() -> None:
    roster = Roster()
    roster.hear([added(instance("a", id="x")), added(instance("b", id="x")), removed(instance("a", id="x"))])
    assert roster.instances == (instance("b", id="x"),)


def test_only_those_with_the_tag_and_the_role_count() -> None:
    roster = Roster(tag="v2", role="primary")
    wanted = instance("a", tags=("v1", "v2"), role="primary")
    roster.hear([snapshot(wanted, instance("b", tags=("v2",)), instance("c", role="primary"))])
    assert roster.instances == (wanted,)


def test_a_member_is_doubted_from_its_suspicion_to_its_end() -> None:
    roster = Roster()
    roster.hear([Snapshot((member("a", Status.SUSPECT), member("b")), ()), seen("suspect", "b")])
    assert roster.suspects == {"a", "b"}
    roster.hear([seen("alive", "a"), seen("failed", "b")])
    assert roster.suspects == set()
