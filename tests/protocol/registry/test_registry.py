"""Every owner's table, and the instances of each service."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.policy import Maintenance, Split
from gossipreg.protocol.registry.payload import BadPayload
from gossipreg.protocol.registry.records import Record, TableDigest
from gossipreg.protocol.registry.registry import Registry, announcement, is_inline
from gossipreg.protocol.registry.table import Freshness
from tests.protocol.making import BORN, History, histories, history, instance, law


def deliver(registry: Registry, *records: Record) -> None:
    for record in records:
        if registry.classify(record.owner, record.generation, record.id, record.version) is Freshness.NEW:
            registry.apply(record)


def offered(registry: Registry, service: str = "orders") -> set[tuple[str, str]]:
    return set(registry.keys_of(service))


# What this node says


def test_own_records_are_counted_from_one() -> None:
    registry = Registry("a")
    first, _ = registry.offer(instance("x"), BORN)
    second, _ = registry.offer(instance("x", weight=5), BORN)
    third, _ = registry.delete("x", BORN)
    assert [record.version for record in (first, second, third)] == [1, 2, 3]
    assert third.payload is None
    assert third.table_xor == 0


@law
@given(histories())
def test_an_owner_always_knows_its_whole_table(past: History) -> None:
    registry = Registry("b")
    for record in past.said:
        if record.payload is None:
            said, _ = registry.delete(record.id, BORN)
        else:
            said, _ = registry.offer(record.instance, BORN)
        assert said == record
        table = registry.table("b")
        assert table is not None
        assert table.is_complete
        assert said.table_xor == table.xor


def test_each_change_says_what_came_and_what_went() -> None:
    registry = Registry("a")
    first, born = registry.offer(instance("x"), BORN)
    second, moved = registry.offer(instance("x", service="billing"), BORN)
    _, gone = registry.delete("x", BORN)
    assert (born.came, born.went) == ((first,), ())
    assert (moved.came, moved.went) == ((second,), (first,))
    assert (gone.came, gone.went) == ((), (second,))
    assert [change.digest_after.version for change in (born, moved, gone)] == [1, 2, 3]
    assert moved.digest_before == born.digest_after


# What peers say


def test_services_list_the_offers_of_all_owners() -> None:
    registry = Registry("a")
    deliver(registry, *history([("x", 1), ("y", 1)]).said, *history([("x", 1)], owner="c").said)
    assert offered(registry) == {("x", "b"), ("y", "b"), ("x", "c")}
    assert len(registry) == 3
    assert [table.owner for table in registry.owners] == ["b", "c"]


def test_an_instance_that_moves_to_another_service_leaves_the_first() -> None:
    registry = Registry("a")
    registry.offer(instance("x"), BORN)
    registry.offer(instance("x", service="billing"), BORN)
    assert offered(registry) == set()
    assert offered(registry, "billing") == {("x", "a")}


def test_records_of_an_earlier_run_are_dead_and_of_a_later_run_are_news() -> None:
    registry = Registry("a")
    deliver(registry, *history([("x", 1)]).said)
    assert registry.classify("b", BORN - 1, "y", 9) is Freshness.OBSOLETE
    assert registry.classify("b", BORN + 1, "x", 1) is Freshness.NEW
    assert registry.classify("b", BORN, "x", 1) is Freshness.KNOWN
    assert registry.classify("c", BORN, "x", 1) is Freshness.NEW
    assert registry.classify("c", BORN, "x", 0) is Freshness.OBSOLETE


def test_the_table_of_another_run_is_not_mixed_in() -> None:
    registry = Registry("a")
    deliver(registry, *history([("x", 1)]).said)
    with pytest.raises(AssertionError, match="dropped first"):
        registry.apply(history([("x", 1)], generation=BORN + 1).said[0])


def test_junk_leaves_everything_as_it_was() -> None:
    registry = Registry("a")
    with pytest.raises(BadPayload):
        registry.apply(Record("b", BORN, 1, "x", 0, b"\xc1"))
    assert registry.table("b") is None
    assert registry.take_dirty() == {}


def test_a_digest_says_what_went() -> None:
    registry = Registry("a")
    past = history([("x", 1), ("x", None)])
    deliver(registry, past.said[0])
    change = registry.apply_digest(TableDigest("b", BORN, 2, 0, gone=("x",)))
    assert (change.came, change.went) == ((), (past.said[0],))
    assert offered(registry) == set()


def test_a_dropped_owner_offers_nothing() -> None:
    registry = Registry("a")
    deliver(registry, *history([("x", 1)]).said)
    registry.take_dirty()
    registry.drop("b")
    registry.drop("missing")
    assert registry.table("b") is None
    assert len(registry) == 0
    assert list(registry.take_dirty()) == ["orders"]


# What to look at again


def test_services_are_looked_at_again_once_in_order_of_change() -> None:
    registry = Registry("a")
    registry.offer(instance("x", service="s2"), BORN)
    registry.offer(instance("y", service="s1"), BORN)
    registry.offer(instance("x", service="s2", weight=0), BORN)
    assert list(registry.take_dirty()) == ["s2", "s1"]
    assert registry.take_dirty() == {}
    registry.touch("a")
    registry.touch("missing")
    assert sorted(registry.take_dirty()) == ["s1", "s2"]


@law
@given(st.lists(st.sampled_from(history([("x", 1), ("y", 2), ("x", None), ("x", 3), ("y", None)]).said)))
def test_the_index_by_service_is_that_of_the_tables(came: list[Record]) -> None:
    registry = Registry("a")
    for record in came:
        deliver(registry, record)
        table = registry.table("b")
        assert table is not None
        assert offered(registry) == {(held.id, held.owner) for held in table}
        assert len(registry) == len(table)


# Large records


def test_a_large_record_is_announced_by_its_digest_and_size() -> None:
    registry = Registry("a")
    small, _ = registry.offer(instance("x"), BORN)
    large, _ = registry.offer(instance("y", meta={"k": "v" * limits.INLINE_RECORD_BYTES_MAX}), BORN)
    assert is_inline(small)
    assert is_inline(attrs.evolve(large, payload=None))
    assert not is_inline(large)
    assert large.payload is not None
    said = announcement(large)
    assert (said.owner, said.generation, said.version, said.id, said.table_xor) == ("a", BORN, 2, "y", large.table_xor)
    assert (said.digest, said.size) == (large.digest, len(large.payload))


def test_it_is_dirty_from_a_change_until_it_was_asked_what_changed() -> None:
    assert not Registry("a").is_dirty
    registry = Registry("a")
    registry.touch_service("orders")
    said = [registry.is_dirty, registry.take_dirty(), registry.is_dirty]
    assert said == [True, {"orders": None}, False]


def test_a_service_that_is_refreshed_as_a_whole_needs_no_marks() -> None:
    registry = Registry("a")
    registry.touch_service("orders")
    registry.offer(instance("x"), BORN)
    registry.touch_term("orders")
    assert registry.take_dirty() == {"orders": None}


def test_a_rule_marks_the_instances_that_it_names_and_a_split_none() -> None:
    registry = Registry("a")
    for id_ in ("x", "y"):
        registry.offer(instance(id_), BORN)
    registry.take_dirty()
    registry.touch_rule(Maintenance("orders", "y"))
    assert registry.take_dirty() == {"orders": {("y", "a"): None}}
    registry.touch_rule(Split("orders", {"v1": 1}))
    assert registry.take_dirty() == {"orders": {}}
    registry.touch_service("orders")
    registry.touch_rule(Maintenance("orders", "y"))
    assert registry.take_dirty() == {"orders": None}


def test_records_and_their_bytes_are_counted() -> None:
    past = history([("x", 1), ("y", 2), ("x", 3), ("y", None), ("z", 5)])
    registry = Registry("a")
    deliver(registry, *past.said)
    table, last = registry.table("b"), past.said[-1]
    assert table is not None
    assert registry.payload_bytes == table.payload_bytes == sum(len(each.payload or b"") for each in past.offered)
    assert registry.size == table.size > 0
    registry.apply_digest(TableDigest("b", BORN, last.version + 1, 7, gone=("z",)))
    assert "z" not in {each.id for each in table}
    assert (registry.size, registry.payload_bytes) == (table.size, table.payload_bytes)
    assert registry.payload_bytes == sum(len(each.payload or b"") for each in table) > 0
    registry.drop("b")
    assert (registry.size, registry.payload_bytes) == (0, 0)
