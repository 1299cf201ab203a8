"""Records in the order of their versions, as they come and go."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.protocol.registry import version_order
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.table import Freshness, Table
from gossipreg.protocol.registry.version_order import VersionOrder
from tests.protocol.making import BORN, law

IDS = [f"x{number}" for number in range(6)]


def record(version: int, id_: str) -> Record:
    return Record("b", BORN, version, id_, 0, b"")


def versions(order: VersionOrder) -> list[tuple[int, str]]:
    return [(each.version, each.id) for each in order.between(0)]


@st.composite
def entries(draw: st.DrawFn) -> Record | TableDigest:
    """A record, a tombstone or a digest such as a peer may make up: several with one version, and in any order."""
    version = draw(st.integers(1, 9))
    if draw(st.booleans()):
        return TableDigest("b", BORN, version, draw(st.integers(0, 1)), tuple(draw(st.lists(st.sampled_from(IDS)))))
    payload = draw(st.sampled_from([None, b""]))
    return Record("b", BORN, version, draw(st.sampled_from(IDS)), draw(st.integers(0, 1)), payload)


@pytest.mark.parametrize("one_by_one", [0, 2, 99])
def test_whatever_a_table_takes_all_that_it_holds_is_in_order(one_by_one: int) -> None:
    @law
    @given(st.lists(entries(), max_size=30))
    def holds(said: list[Record | TableDigest]) -> None:
        table = Table("b", BORN)
        for each in said:
            if isinstance(each, TableDigest):
                table.apply_digest(each)
            elif table.classify(each.id, each.version) is Freshness.NEW:
                table.apply(each)
            held = [*table, *table._tombstones.values()]
            assert list(table.after(0, ())) == sorted(held, key=lambda one: (one.version, one.id))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(version_order, "_ONE_BY_ONE_MAX", one_by_one)
        holds()


def test_a_part_begins_with_its_first_version_and_ends_before_its_end() -> None:
    order = VersionOrder()
    order.replace((), [record(version, id_) for version, id_ in [(5, "b"), (2, "c"), (5, "a"), (9, "d")]])
    assert versions(order) == [(2, "c"), (5, "a"), (5, "b"), (9, "d")]
    assert [each.id for each in order.between(3, 9)] == ["a", "b"]
    assert [each.id for each in order.between(6)] == ["d"]
    assert list(order.between(9, 3)) == []


def test_a_copy_changes_alone() -> None:
    order = VersionOrder()
    order.replace((), [record(1, "a")])
    copy = order.copy()
    copy.replace([record(1, "a")], [record(2, "b")])
    assert (versions(order), versions(copy)) == ([(1, "a")], [(2, "b")])
