from __future__ import annotations

import attrs

from gossipreg.events import InstanceEvent, Snapshot
from gossipreg.frontends.proxy.backend import key_of
from gossipreg.frontends.proxy.instance_table import InstanceTable
from gossipreg.model import Status
from tests.frontends.proxy.making import added, instance, member, removed, seen, snapshot


def test_a_snapshot_replaces_everything() -> None:
    table = InstanceTable()
    table.apply([snapshot(instance("a")), snapshot(instance("b"))])
    assert table.instances == (instance("b"),)


def test_instances_come_change_and_go() -> None:
    table = InstanceTable()
    table.apply([snapshot(), added(instance("a")), InstanceEvent("changed", instance("a", weight=5))])
    assert table.instances == (instance("a", weight=5),)
    table.apply([removed(instance("a")), removed(instance("a"))])
    assert not table.instances


def test_two_owners_may_use_one_id() -> None:
    table = InstanceTable()
    table.apply([added(instance("a", id="x")), added(instance("b", id="x")), removed(instance("a", id="x"))])
    assert table.instances == (instance("b", id="x"),)


def test_only_those_with_the_tag_and_the_role_count() -> None:
    table = InstanceTable(tag="v2", role="primary")
    wanted = instance("a", tags=("v1", "v2"), role="primary")
    table.apply([snapshot(wanted, instance("b", tags=("v2",)), instance("c", role="primary"))])
    assert table.instances == (wanted,)


def test_a_member_is_doubted_from_its_suspicion_to_its_end() -> None:
    table = InstanceTable()
    table.apply([Snapshot((member("a", Status.SUSPECT), member("b")), ()), seen("suspect", "b")])
    assert table.suspects == {"a", "b"}
    table.apply([seen("alive", "a"), seen("failed", "b")])
    assert table.suspects == set()


def test_equal_ids_of_two_regions_are_two_instances() -> None:
    here, there = instance("a", id="x"), instance("a", id="x", region="eu")
    table = InstanceTable(role="primary")
    table.apply([added(attrs.evolve(here, role="primary")), added(there), removed(here)])
    assert table.instances == ()
    assert table.has_lost_role(*key_of(there))
    assert not table.has_lost_role(*key_of(here))
