"""Rows: the same as a sorted list would be, and few of them copied."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Instance
from gossipreg.protocol.registry.rows import CHUNK_ROWS, Chunk, Key, Row, Rows, key_of
from tests.protocol.making import instance, law


def row(id_: str, *, weight: int = 1, can_serve: bool = True, deferred: bool = False, port: int = 80) -> Row:
    made = instance(id_, owner="b", weight=weight, port=port)
    return Row(made, made if can_serve else None, deferred)


def many(count: int, *, step: int = 2) -> Rows:
    """Rows with even numbers for ids, so that there is room between them."""
    return Rows.of([row(f"{number:06}") for number in range(0, step * count, step)])


def copied(before: Rows, after: Rows) -> int:
    """How many rows of ``after`` are in chunks that it does not share with ``before``."""
    shared = {id(each) for each in before.chunks}
    return sum(len(each.sources) for each in after.chunks if id(each) not in shared)


def ids(instances: tuple[Instance, ...]) -> list[str]:
    return [each.id for each in instances]


def test_without_rows_there_is_nothing() -> None:
    rows = Rows()
    assert (rows.shown(), rows.callable(), rows.healthy(), rows.healthy_count) == ((), (), (), 0)
    assert rows.get(("x", "b")) is None
    assert rows.at(0.5) is None
    assert rows.replaced({("x", "b"): None}).chunks == ()


@pytest.mark.parametrize("count", [1_000, 5_000, 20_000])
def test_a_change_copies_the_rows_of_one_chunk_however_many_there_are(count: int) -> None:
    before = many(count)
    changed = row("001000", weight=7)
    after = before.replaced({key_of(changed.shown): changed})
    assert copied(before, after) == CHUNK_ROWS
    assert changed.is_like(after.get(("001000", "b")))
    assert after.shown_count == count
    added = row("001001")
    assert copied(before, before.replaced({key_of(added.shown): added})) == CHUNK_ROWS + 1
    assert copied(before, before.replaced({("001000", "b"): None})) == CHUNK_ROWS - 1
    far = {key_of(each.shown): each for each in (row("000001"), row("001001"))}
    assert copied(before, before.replaced(far)) == 2 * (CHUNK_ROWS + 1)


@pytest.mark.parametrize("count", [2, 10, 1_000])
def test_one_row_more_or_less_makes_no_other_row(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are copied: to make the rows of a chunk for each registration was a third of its cost."""
    before, added = many(count), row("000001")
    monkeypatch.setattr(Chunk, "rows", lambda _: pytest.fail("it makes the rows of a chunk"))
    more = before.replaced({key_of(added.shown): added})
    assert more.shown_count == count + 1
    assert more.shown()[1] is added.shown
    assert more.replaced({key_of(added.shown): None}).shown() == before.shown()


def test_rows_that_come_one_by_one_are_divided_and_those_that_go_joined() -> None:
    rows = Rows()
    sizes = []
    for number in range(1000):
        came = row(f"{number * 7919 % 1000:04}")
        rows = rows.replaced({key_of(came.shown): came})
        sizes += [len(each.sources) for each in rows.chunks]
    assert max(sizes) == 2 * CHUNK_ROWS
    assert len(rows.chunks) > 1000 / (2 * CHUNK_ROWS)
    for number in range(990):
        rows = rows.replaced({(f"{number * 613 % 1000:04}", "b"): None})
        assert len(rows.chunks) <= 1 + rows.shown_count / (CHUNK_ROWS // 4)
    assert ids(rows.shown()) == sorted(f"{number * 613 % 1000:04}" for number in range(990, 1000))


_rows = st.builds(
    row,
    st.integers(0, 400).map(lambda number: f"{number:04}"),
    weight=st.integers(0, 3),
    can_serve=st.booleans(),
    deferred=st.booleans(),
    port=st.sampled_from([0, 80]),
)
_steps = st.lists(st.dictionaries(st.integers(0, 400), st.one_of(st.none(), _rows), max_size=60), max_size=12)


@law
@given(steps=_steps, begun=st.integers(0, 300), lot=st.floats(0, 1, exclude_max=True))
def test_rows_are_what_a_sorted_list_would_be(steps: list[dict[int, Row | None]], begun: int, lot: float) -> None:
    rows = many(begun, step=1)
    plain: dict[Key, Row] = {each.key: each for each in rows}
    for step in steps:
        changes: dict[Key, Row | None] = {}
        for number, change in step.items():
            key = (f"{number:04}", "b") if change is None else key_of(change.shown)
            changes[key] = change
        rows = rows.replaced(changes)
        for key, change in changes.items():
            if change is None:
                plain.pop(key, None)
            else:
                plain[key] = change
    listed = [plain[key] for key in sorted(plain)]
    able = [each for each in listed if each.able is not None]
    preferred = [each for each in able if not each.deferred]
    healthy = tuple(each.shown for each in preferred or able)
    assert [(each.shown, each.able, each.deferred) for each in rows] == [
        (each.shown, each.able, each.deferred) for each in listed
    ]
    assert rows.shown() == tuple(each.shown for each in listed)
    assert rows.callable() == tuple(each.able for each in able)
    assert rows.healthy() == healthy
    assert (rows.shown_count, rows.callable_count, rows.healthy_count) == (len(listed), len(able), len(healthy))
    for number in range(0, 401, 7):
        got, wanted = rows.get((f"{number:04}", "b")), plain.get((f"{number:04}", "b"))
        assert got is wanted is None or (got is not None and got.is_like(wanted))
    shares = list(accumulate(each.weight if each.port else 0 for each in healthy))
    drawn = healthy[bisect_right(shares, lot * shares[-1])] if shares and shares[-1] else None
    assert rows.at(lot) == drawn


def test_rows_are_decoded_a_chunk_at_a_time() -> None:
    rows = many(5 * CHUNK_ROWS)
    steps = rows.decode()
    next(steps)
    assert len(list(steps)) == len(rows.chunks) - 1
    assert [each.shown for each in rows.chunks] == [each.sources for each in rows.chunks]


def test_a_chunk_lists_the_sources_of_all_or_of_those_to_call() -> None:
    able, deferred, unable = row("a"), row("b", deferred=True), row("c", can_serve=False)
    chunk = Chunk.of([able, deferred, unable])
    assert list(chunk.listed(healthy=False, falls_back=False)) == [each.source for each in (able, deferred, unable)]
    assert list(chunk.listed(healthy=True, falls_back=False)) == [able.source, None]
    assert list(chunk.listed(healthy=True, falls_back=True)) == [able.source, deferred.source, None]
