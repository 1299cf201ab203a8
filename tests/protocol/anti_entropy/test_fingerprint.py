"""Equal states have equal fingerprints, in whatever order they came about."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.fingerprint import BUCKETS, Entry, Fingerprint, bucket_of
from gossipreg.protocol.registry.records import TableDigest
from tests.protocol.making import BORN, history, law, many_members, update

ENTRIES: list[Entry] = [
    *many_members(12),
    *history([(f"x{n}", n) for n in range(12)]).said,
    *(TableDigest(owner, BORN, 3, 7) for owner in "bcd"),
]

some = st.lists(st.sampled_from(ENTRIES), unique_by=id)


def of(entries: list[Entry]) -> Fingerprint:
    fresh = Fingerprint()
    for entry in entries:
        fresh.replace(None, entry)
    return fresh


@law
@given(some, st.data())
def test_the_order_of_arrival_does_not_matter(entries: list[Entry], data: st.DataObject) -> None:
    other = of(data.draw(st.permutations(entries)))
    assert other.total == of(entries).total
    assert other.sums == of(entries).sums


@law
@given(some, some)
def test_different_states_have_different_fingerprints(one: list[Entry], other: list[Entry]) -> None:
    assert (of(one).total == of(other).total) == ({id(entry) for entry in one} == {id(entry) for entry in other})


@law
@given(st.lists(st.sampled_from(ENTRIES)))
def test_what_is_kept_step_by_step_equals_what_is_recomputed(toggles: list[Entry]) -> None:
    kept = Fingerprint()
    present: dict[int, Entry] = {}
    for entry in toggles:
        if present.pop(id(entry), None) is not None:
            kept.replace(entry, None)
        else:
            kept.replace(None, entry)
            present[id(entry)] = entry
        fresh = of(list(present.values()))
        assert (kept.total, kept.sums) == (fresh.total, fresh.sums)
        total = 0
        for bucket in kept.sums:
            total ^= bucket
        assert kept.total == total


def test_an_entry_takes_anothers_place() -> None:
    state = of([update()])
    suspect = update(status=Status.SUSPECT)
    state.replace(update(), suspect)
    assert state.total == of([suspect]).total
    state.replace(suspect, None)
    assert state.total == 0
    assert set(state.sums) == {0}


def test_an_entry_is_filed_once() -> None:
    assert of([update(), update()]).total == of([update()]).total


def test_all_versions_of_an_entry_are_in_one_bucket() -> None:
    first, second = history([("x", 1), ("x", 2)]).said
    assert bucket_of(first) == bucket_of(second)
    assert bucket_of(update()) == bucket_of(update(status=Status.LEFT, generation=BORN + 9))
    assert bucket_of(TableDigest("b", BORN, 1, 1)) == bucket_of(TableDigest("b", BORN, 2, 2))


def test_entries_are_spread_over_all_buckets() -> None:
    filled = Counter(bucket_of(member) for member in many_members(10_000))
    assert len(filled) == BUCKETS
    mean = 10_000 / BUCKETS
    assert sum((count - mean) ** 2 / mean for count in filled.values()) < 330.5  # p = 0.001 at 255 degrees


def test_a_bucket_tells_what_it_has_and_what_another_lacks() -> None:
    here, there = update(), update(status=Status.SUSPECT)
    bucket = bucket_of(here)
    state = of([here])
    assert state.digests(bucket) == (here.digest,)
    assert state.lacking(bucket, {there.digest}) == [here]
    assert state.lacking(bucket, {here.digest}) == []
    assert state.unknown(bucket, (here.digest, there.digest)) == (there.digest,)
    assert state.find(bucket, (there.digest, here.digest)) == [here]
