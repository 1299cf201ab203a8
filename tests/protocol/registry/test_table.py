"""One owner's table converges, whatever part of it arrives and in whatever order."""

from __future__ import annotations

from itertools import islice
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.table import Freshness, Table
from tests.protocol.making import BORN, History, histories, history, law

Entry = Record | TableDigest


def empty() -> Table:
    return Table("b", BORN)


def tell(table: Table, entry: Entry) -> Freshness | None:
    """Let a table hear something, as a node does."""
    if isinstance(entry, TableDigest):
        table.apply_digest(entry)
        return None
    freshness = table.classify(entry.id, entry.version)
    if freshness is Freshness.NEW:
        table.apply(entry)
    return freshness


def told(entries: list[Record] | tuple[Record, ...]) -> Table:
    table = empty()
    for entry in entries:
        tell(table, entry)
    return table


def offered_as_of(past: History, version: int) -> dict[str, Record]:
    """What the owner offered right after it said ``version``."""
    offered: dict[str, Record] = {}
    for record in past.said:
        if record.version <= version:
            offered.pop(record.id, None)
            if record.payload is not None:
                offered[record.id] = record
    return offered


def held(table: Table) -> dict[str, Record]:
    return {record.id: record for record in table}


def session(one: Table, other: Table) -> None:
    """What a comparison of two nodes does to what they hold of an owner."""
    for sender, receiver in ((one, other), (other, one)):
        receiver.apply_digest(sender.latest_digest)
        for record in list(sender):
            if tell(receiver, record) is Freshness.OBSOLETE:
                for entry in receiver.tombstones_for([record.id]):
                    tell(sender, entry)


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[History, list[Record]]:
    """An owner's history, and what arrives of it at a node: in any order, some of it twice, some of it never."""
    past = draw(histories().filter(lambda past: bool(past.said)))
    return past, draw(st.lists(st.sampled_from(past.said), max_size=2 * len(past.said)))


# Laws


@law
@given(arrivals())
def test_any_arrivals_and_a_final_session_end_in_the_owners_table(case: tuple[History, list[Record]]) -> None:
    past, came = case
    table, owners = told(came), told(past.said)
    session(table, owners)
    assert held(table) == held(owners) == {record.id: record for record in past.offered}
    assert table.latest_digest == owners.latest_digest
    assert table.is_complete


@law
@given(arrivals())
def test_a_deleted_record_is_never_shown_again(case: tuple[History, list[Record]]) -> None:
    past, came = case
    table = empty()
    deleted: dict[str, int] = {}
    for record in [*came, *past.said, *came]:
        if tell(table, record) is Freshness.NEW and record.payload is None:
            deleted[record.id] = record.version
        assert all(shown.version > deleted.get(shown.id, 0) for shown in table)
        as_of_floor = offered_as_of(past, table.compacted_below)
        assert all(shown == as_of_floor.get(shown.id) for shown in table if shown.version <= table.compacted_below)


@law
@given(arrivals())
def test_a_table_that_calls_itself_whole_is_the_owners(case: tuple[History, list[Record]]) -> None:
    past, came = case
    table = empty()
    for record in came:
        tell(table, record)
        if table.is_complete:
            assert held(table) == offered_as_of(past, table.latest_digest.version)
            assert table.latest_digest.table_xor == table.xor


@law
@given(arrivals(), st.integers(0, 99))
def test_two_that_missed_different_things_agree_after_a_session_even_without_the_owner(
    case: tuple[History, list[Record]], seed: int
) -> None:
    past, came = case
    one, other = told(came), told(Random(seed).choices(past.said, k=len(came)))
    session(one, other)
    assert held(one) == held(other)
    assert one.latest_digest == other.latest_digest


@law
@given(arrivals())
def test_arrivals_are_idempotent(case: tuple[History, list[Record]]) -> None:
    _, came = case
    table = told(came)
    before = held(table), table.latest_digest, table.compacted_below
    for record in came:
        assert tell(table, record) is not Freshness.NEW or record.payload is None
    assert (held(table), table.latest_digest, table.compacted_below) == before


# Cases


def test_a_removal_that_comes_first_still_counts() -> None:
    offer, removal = history([("x", 1), ("x", None)]).said
    table = told([removal])
    assert table.classify("x", offer.version) is Freshness.OBSOLETE
    assert len(table) == 0


def test_a_newer_version_replaces_an_older_and_not_the_other_way_round() -> None:
    first, second = history([("x", 1), ("x", 2)]).said
    table = told([first, second])
    assert table.get("x") == second
    assert table.classify("x", first.version) is Freshness.KNOWN
    assert table.classify("x", second.version) is Freshness.KNOWN


def test_a_whole_table_knows_the_dead_without_remembering_them() -> None:
    past = history([("x", 1), ("y", 1), ("x", None)])
    table = told(past.said)
    assert table.is_complete
    assert table.classify("x", 1) is Freshness.OBSOLETE
    assert not table._tombstones


def test_a_table_with_a_gap_is_not_whole_but_keeps_its_compaction() -> None:
    first, _, third = history([("x", 1), ("y", 1), ("z", 1)]).said
    table = told([first, third])
    assert not table.is_complete
    assert table.compacted_below == 1
    assert table.classify("y", 2) is Freshness.NEW


def test_an_id_may_be_offered_again_after_its_removal() -> None:
    past = history([("x", 1), ("x", None), ("x", 2)])
    assert held(told(past.said)) == {"x": past.said[2]}


def test_of_an_id_that_is_offered_again_only_that_is_told() -> None:
    past = history([("x", 1), ("x", None), ("x", 2)])
    assert list(told(past.said).after(0, ())) == [past.said[-1]]


def test_a_proven_digest_whose_sum_is_not_that_of_what_is_left_deletes_nothing() -> None:
    past = history([("x", 1), ("y", 1)])
    table = told(past.said)
    assert table.apply_digest(TableDigest("b", BORN, 2, 7, gone=("x",)), proven=True) == []
    assert held(table).keys() == {"x", "y"}


def test_a_digest_buries_what_it_calls_gone_and_nothing_newer() -> None:
    past = history([("x", 1), ("y", 1), ("x", None), ("x", 2)])
    behind = told(past.said[:2])
    assert behind.apply_digest(TableDigest("b", BORN, 3, past.said[2].table_xor, gone=("x", "missing"))) == [
        past.said[0]
    ]
    assert behind.is_complete
    ahead = told([past.said[3]])
    assert ahead.apply_digest(TableDigest("b", BORN, 3, past.said[2].table_xor, gone=("x",))) == []
    assert held(ahead) == {"x": past.said[3]}


def test_a_proven_digest_makes_a_table_whole_that_held_removals_above_a_gap() -> None:
    past = history([("x", 1), ("y", 1), ("z", 1), ("x", None), ("z", None)])
    x, y, _, removal, last = past.said
    table = told([x, y, removal])  # z is missing
    assert table.size == 2
    assert table.apply_digest(TableDigest("b", BORN, last.version, last.table_xor, gone=("z",)), proven=True) == []
    assert table.is_complete
    assert (held(table), table.size) == ({"y": y}, 1)
    assert table.classify("x", x.version) is Freshness.OBSOLETE


def test_a_digest_below_our_compaction_teaches_us_nothing() -> None:
    past = history([("x", 1), ("y", 1)])
    table = told(past.said)
    assert table.apply_digest(TableDigest("b", BORN, 1, past.said[0].table_xor, gone=("x",))) == []
    assert table.is_complete
    assert set(held(table)) == {"x", "y"}


def test_an_obituary_never_names_what_is_offered() -> None:
    table = told(history([("x", 1), ("y", 1), ("y", None)]).said)
    assert table.tombstones_for(["x", "y"]) == [TableDigest("b", BORN, 3, table.latest_digest.table_xor, gone=("y",))]


def test_a_table_with_a_gap_passes_removals_on_one_by_one() -> None:
    past = history([("x", 1), ("y", 1), ("z", 1), ("x", None), ("w", 1)])
    x, y, _, removal, w = past.said
    table = told([x, y, removal, w])  # z is missing
    compacted_below, obituary = table.tombstones_for(["x", "v"])
    assert compacted_below == TableDigest("b", BORN, 2, y.table_xor, gone=("v",))
    assert obituary == removal


def test_an_owner_may_have_so_many_records_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 2)
    x, y, w, again, removal = history([("x", 1), ("y", 1), ("w", 1), ("x", 2), ("w", None)]).said
    table = told([x, y])
    assert tell(table, w) is Freshness.OVER_LIMIT
    assert tell(table, again) is Freshness.NEW
    assert tell(table, removal) is Freshness.OVER_LIMIT
    assert table.latest_digest.version == again.version


# Requests of what is lacking


def test_the_versions_held_above_the_compaction_are_told_as_ranges() -> None:
    said = history([(str(n), 1) for n in range(12)]).said
    table = told([said[0], *said[2:5], said[6], *said[9:11]])
    assert table.compacted_below == 1
    assert table.ranges() == (3, 5, 7, 7, 10, 11)
    assert [record.version for record in told(said).after(1, table.ranges())] == [2, 6, 8, 9, 12]


def test_only_so_many_ranges_are_told_and_those_of_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RANGES_MAX", 4)
    said = history([(str(n), 1) for n in range(12)]).said
    assert told(said[1::2]).ranges() == (2, 2, 4, 4)


class Looked(Record):
    """A record that counts how often its version is read."""

    looks = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "version":
            Looked.looks += 1
        return super().__getattribute__(name)


def test_what_a_peer_lacks_is_found_without_a_look_at_what_it_has() -> None:
    table = empty()
    for version in range(1, 5001):
        table.apply(Looked("b", BORN, version, f"x{version}", 0, b""))
    Looked.looks = 0
    assert list(table.after(5000, ())) == []
    assert list(table.after(0, (1, 2000, 2001, 5000))) == []
    assert [record.id for record in islice(table.after(0, (1, 4000)), 3)] == ["x4001", "x4002", "x4003"]
    assert [record.id for record in table.after(1, (4, 4999))] == ["x2", "x3", "x5000"]
    assert [record.id for record in table.after(4998, (1, 2))] == ["x4999", "x5000"]
    assert Looked.looks < 200


@law
@given(histories(), st.data())
def test_what_a_whole_table_answers_makes_another_whole(past: History, data: st.DataObject) -> None:
    whole = told(past.said)
    other = told([record for record in past.said if data.draw(st.booleans())])
    digest = whole.digest_after(other.compacted_below)
    assert digest is not None
    entries: list[Entry] = [digest, *whole.after(other.compacted_below, other.ranges())]
    for entry in data.draw(st.permutations(entries)):
        tell(other, entry)
    for entry in entries:  # a record that came before the deletion of its id is obsolete after it
        tell(other, entry)
    assert other.is_complete
    assert {record.version for record in other} == {record.version for record in past.offered}


def test_a_table_that_is_not_whole_has_no_digest_to_give() -> None:
    said = history([("x", 1), ("y", 1)]).said
    assert told(said[1:]).digest_after(0) is None


def test_a_table_remembers_only_so_many_deletions_and_says_nothing_of_earlier_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DELETED_IDS_MAX", 2)
    said = history([(id_, 1) for id_ in "xyzw"] + [(id_, None) for id_ in "xyz"]).said
    table = told(said)
    assert table.digest_after(4) is None, "x was deleted in version 5, and is forgotten"
    digest = table.digest_after(5)
    assert digest is not None
    assert digest.gone == ("y", "z")


def test_an_id_that_is_offered_again_is_not_told_as_deleted() -> None:
    table = told(history([("x", 1), ("y", 1), ("x", None), ("x", 2)]).said)
    digest = table.digest_after(0)
    assert digest is not None
    assert digest.gone == ()
