"""Members, records, fingerprint, view and broadcasts change in one step, so that they cannot disagree."""

from __future__ import annotations

from collections import Counter
from random import Random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import Fingerprint
from gossipreg.protocol.engine_settings import EngineSettings
from gossipreg.protocol.membership.member_update import MemberUpdate
from gossipreg.protocol.membership.members import Members
from gossipreg.protocol.registry.clock import Clock
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.registry import Registry
from gossipreg.protocol.registry.table import Freshness
from gossipreg.protocol.registry.view import View
from gossipreg.protocol.state import ClusterState
from tests.protocol.making import BORN, history, law, update


def knowing(*members: MemberUpdate) -> ClusterState:
    settings = EngineSettings()
    one = ClusterState(
        settings, Members(settings, Random(1), "a"), Registry("a"), View(BORN), Counter(), Clock("a", BORN)
    )
    one.own = update("a", port=7000)
    for member in members:
        one.believe(member, 0.0, spread=False)
    return one


def deliver(one: ClusterState, entry: MemberUpdate | Record | TableDigest, now: float = 0.0) -> None:
    """Take an entry as the engine does."""
    if isinstance(entry, MemberUpdate):
        held = one.members.get(entry.name)
        if one.expect(entry) if held is None else entry.supersedes(held):
            one.believe(entry, now, spread=True)
    elif isinstance(entry, TableDigest):
        one.apply_digest(entry, now)
    elif one.classify(entry.owner, entry.generation, entry.id, entry.version) is Freshness.NEW:
        one.take(entry, now, spread=True)


def recomputed(one: ClusterState) -> int:
    """The fingerprint, from nothing."""
    fresh = Fingerprint()
    for member in one.members:
        fresh.replace(None, member)
        table = one.registry.table(member.name)
        if table is not None and table.generation == member.generation and member.status is not Status.LEFT:
            for record in table:
                fresh.replace(None, record)
            if table.latest_digest.version:
                fresh.replace(None, table.latest_digest)
    return fresh.total


def shown(one: ClusterState) -> list[str]:
    one.refresh()
    return [instance.id for instance in one.view.service("orders").instances]


PAST = history([("x", 1), ("y", 2), ("x", None), ("x", 3), ("y", None)])
LATER = history([("x", 5), ("z", 1)], generation=BORN + 1)
ENTRIES: list[MemberUpdate | Record | TableDigest] = [
    *PAST.said,
    *LATER.said,
    TableDigest("b", BORN, 3, PAST.said[2].table_xor, gone=("x",)),
    TableDigest("b", BORN, 5, 0, gone=("x", "y")),
    *(update("b", status) for status in Status),
    *(update("b", status, generation=BORN + 1, port=7005) for status in Status),
    update("b", incarnation=1),
]


@law
@given(st.lists(st.sampled_from(ENTRIES), max_size=25), st.sampled_from([0.0, 30.0]))
def test_whatever_is_heard_the_parts_agree(heard: list[MemberUpdate | Record | TableDigest], step: float) -> None:
    one = knowing()
    for number, entry in enumerate(heard):
        deliver(one, entry, number * step)
        assert one.fingerprint.total == recomputed(one)
    one.sweep(1e6)
    assert one.fingerprint.total == recomputed(one)
    member, table = one.members.get("b"), one.registry.table("b")
    holds = member is not None and table is not None and table.generation == member.generation
    assert shown(one) == (sorted(record.id for record in table or ()) if holds else [])


# Updates and records travel apart


def test_records_wait_for_their_owner_to_be_introduced() -> None:
    one = knowing()
    deliver(one, PAST.said[0])
    assert shown(one) == []
    assert one.fingerprint.total == 0
    deliver(one, update("b"))
    assert shown(one) == ["x"]
    assert one.fingerprint.total == recomputed(one)


def test_records_without_a_membership_update_of_their_owner_are_dropped_after_a_minute() -> None:
    one = knowing()
    deliver(one, PAST.said[0], 100.0)
    deliver(one, PAST.said[1], 150.0)
    one.sweep(160.0)
    assert one.registry.table("b") is not None
    one.sweep(160.1)
    assert one.registry.table("b") is None


def test_records_whose_owner_was_introduced_are_kept() -> None:
    one = knowing()
    deliver(one, PAST.said[0], 100.0)
    deliver(one, update("b"), 101.0)
    one.sweep(1000.0)
    assert shown(one) == ["x"]


def test_the_number_of_owners_without_a_membership_update_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PENDING_OWNERS_MAX", 2)
    one = knowing()
    for owner in ("b", "c", "d"):
        deliver(one, history([("x", 1)], owner=owner).said[0])
    assert [table.owner for table in one.registry.owners] == ["b", "c"]
    assert one.classify("d", BORN, "x", 1) is Freshness.OBSOLETE
    assert one.classify("c", BORN, "y", 2) is Freshness.NEW


def test_a_later_run_replaces_what_the_earlier_offered() -> None:
    one = knowing(update("b"))
    deliver(one, PAST.said[1])
    deliver(one, update("b", generation=BORN + 1))
    assert shown(one) == []
    deliver(one, LATER.said[1])
    deliver(one, PAST.said[1])
    assert shown(one) == ["z"]


def test_a_later_run_is_not_taken_at_a_records_word() -> None:
    """It may be a newcomer's whose name is taken: the run that is here must not be silenced by it."""
    one = knowing(update("b"))
    deliver(one, PAST.said[1])
    deliver(one, LATER.said[1])
    deliver(one, TableDigest("b", BORN + 1, 9, 9))
    assert shown(one) == ["y"]
    deliver(one, update("b", generation=BORN + 1))
    deliver(one, LATER.said[1])
    assert shown(one) == ["z"]


def test_records_of_a_run_that_is_not_the_one_introduced_are_dropped() -> None:
    one = knowing()
    deliver(one, LATER.said[1])
    deliver(one, update("b"))
    assert one.registry.table("b") is None
    deliver(one, PAST.said[1])
    assert shown(one) == ["y"]


def test_of_a_strangers_runs_the_latest_is_kept() -> None:
    one = knowing()
    deliver(one, PAST.said[1])
    deliver(one, LATER.said[1])
    deliver(one, PAST.said[1])
    deliver(one, update("b", generation=BORN + 1))
    assert shown(one) == ["z"]


def test_a_digest_of_a_past_run_teaches_nothing() -> None:
    one = knowing(update("b", generation=BORN + 1))
    deliver(one, LATER.said[0])
    before = one.fingerprint.total
    deliver(one, TableDigest("b", BORN, 9, 9, gone=("x",)))
    assert one.fingerprint.total == before
    orphaned = knowing()
    deliver(orphaned, LATER.said[0])
    deliver(orphaned, TableDigest("b", BORN, 9, 9))
    assert [table.generation for table in orphaned.registry.owners] == [BORN + 1]


def test_a_digest_of_a_later_run_makes_way_for_it_as_a_record_does() -> None:
    one = knowing()
    deliver(one, PAST.said[0])
    deliver(one, TableDigest("b", BORN + 1, 1, 0), 100.0)
    assert [table.generation for table in one.registry.owners] == [BORN + 1]


def test_a_table_that_only_a_digest_told_of_is_dropped_after_a_minute_as_well() -> None:
    one = knowing()
    deliver(one, TableDigest("b", BORN, 1, 0), 100.0)
    one.sweep(160.1)
    assert one.registry.table("b") is None


def test_a_member_that_left_has_no_instances() -> None:
    one = knowing(update("b"))
    deliver(one, PAST.said[0])
    deliver(one, update("b", Status.LEFT))
    assert shown(one) == []
    assert one.classify("b", BORN, "y", 2) is Freshness.OBSOLETE


def test_a_failed_member_still_has_its_records() -> None:
    one = knowing(update("b"))
    deliver(one, PAST.said[0])
    deliver(one, update("b", Status.FAILED))
    assert shown(one) == ["x"]
    assert one.view.service("orders").healthy == ()


# What is refused


def test_junk_in_a_record_is_counted_and_changes_nothing() -> None:
    one = knowing(update("b"))
    before = one.fingerprint.total
    deliver(one, Record("b", BORN, 1, "x", 0, b"\xc1"))
    assert one.counters["records_with_bad_payload"] == 1
    assert one.fingerprint.total == before


def test_what_is_too_old_to_be_remembered_is_not_learned() -> None:
    one = knowing()
    assert one.expect(update("b", Status.FAILED, age=86_399))
    assert one.expect(update("b", Status.LEFT, age=86_400))
    assert not one.expect(update("b", Status.FAILED, age=86_400))
    assert one.expect(update("b", Status.ALIVE, age=10**9))
    assert one.counters["updates_too_old"] == 1


def test_what_is_forgotten_leaves_no_trace() -> None:
    one = knowing(update("b"))
    deliver(one, PAST.said[0])
    deliver(one, update("b", Status.FAILED), 10.0)
    assert one.sweep(10.0 + 86_400.0) == [update("b", Status.FAILED)]
    assert one.fingerprint.total == 0
    assert shown(one) == []


# This node's own records


def own(one: ClusterState, *steps: tuple[str, int]) -> list[Record]:
    made = []
    for record in history(steps, owner="a").said:
        said, change = one.registry.offer(record.instance, BORN)
        one.remake(said, change)
        made.append(said)
    return made


def test_own_records_are_shown_before_the_node_is_announced() -> None:
    one = knowing()
    own(one, ("x", 1))
    assert shown(one) == ["x"]
    assert one.fingerprint.total == 0


def test_no_peer_has_newer_records_of_ours() -> None:
    one = knowing(update("a", port=7000))
    own(one, ("x", 1), ("y", 1))
    assert one.classify("a", BORN, "x", 2) is Freshness.KNOWN
    assert one.classify("a", BORN, "z", 1) is Freshness.OBSOLETE
    assert one.classify("a", BORN + 1, "x", 1) is Freshness.OBSOLETE
    one.apply_digest(TableDigest("a", BORN, 9, 9, gone=("x",)), 0.0)
    assert shown(one) == ["x", "y"]


def test_what_bears_our_name_and_generation_but_is_not_ours_is_noticed() -> None:
    one = knowing()
    assert one.is_foreign(TableDigest("a", BORN, 1, 0))
    x, y = own(one, ("x", 1), ("y", 1))
    ours: list[Record | TableDigest] = [x, y, TableDigest("a", BORN, 2, y.table_xor), TableDigest("a", BORN, 0, 0)]
    assert not any(map(one.is_foreign, ours))
    assert not one.is_foreign(attrs.evolve(x, id="z")), "it may be one that we withdrew"
    assert not one.is_foreign(attrs.evolve(x, payload=None))
    assert not one.is_foreign(attrs.evolve(x, generation=BORN + 1))
    assert not one.is_foreign(attrs.evolve(x, owner="b"))
    assert one.is_foreign(attrs.evolve(x, version=3))
    assert one.is_foreign(attrs.evolve(x, payload=b"another"))


def test_a_member_that_was_forgotten_is_not_deprioritized_when_it_comes_back_as_a_suspect() -> None:
    one = knowing(update("b"))
    one.deprioritize("b")
    one.forget("b")
    one.believe(update("b", Status.SUSPECT), 1.0, spread=False)
    assert "b" not in one._deprioritized


def test_as_many_digests_go_along_as_there_is_room_for() -> None:
    owners = [f"m{number}" for number in range(4)]
    one = knowing(*(update(owner, port=7100 + number) for number, owner in enumerate(owners)))
    for owner in owners:
        for record in history([("x", 1), ("y", 1), ("x", None)], owner=owner).said:
            deliver(one, record)
        one.digests.changed(owner, 1.0)
    one.digests.take_due(9.0, rounds=1)
    assert [len(one.piggyback_digests(count * one.digest_bytes + 1, 9.0)) for count in (0, 3)] == [0, 3]


def test_the_age_of_a_failure_is_counted_in_whole_seconds_from_zero() -> None:
    one = knowing(update("b"))
    failed = update("b", Status.FAILED)
    one.believe(failed, 5.0, spread=False)
    assert [one.with_age(failed, now).age for now in (5.0, 5.9, 7.0)] == [0, 0, 2]
