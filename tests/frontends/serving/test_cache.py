from __future__ import annotations

import pytest
import trio

from gossipreg.frontends.serving.cache import IndexedCache, SharedCache


def cache(size_max: float = 10, **options: float) -> IndexedCache[bytes]:
    return IndexedCache(size_max, **options)  # type: ignore[arg-type]


def test_a_value_is_valid_while_its_index_stands() -> None:
    kept = cache()
    kept.put("a", 7, b"one")
    assert kept.get("a", 7) == b"one"
    assert kept.get("a", 8) is None
    assert kept.last("a") == b"one"
    assert kept.get("b", 7) is kept.last("b") is None


def test_a_new_value_takes_the_place_of_the_old_one() -> None:
    kept = cache()
    kept.put("a", 7, b"four")
    kept.put("a", 8, b"to")
    assert (kept.get("a", 8), len(kept), kept.total) == (b"to", 1, 2)


def test_the_least_recently_used_go_first() -> None:
    kept = cache(6)
    for key in "abc":
        kept.put(key, 1, b"xx")
    kept.get("a", 1)
    kept.put("d", 1, b"xx")
    assert [kept.last(key) is not None for key in "abcd"] == [True, False, True, True]
    assert kept.total == 6


def test_the_number_of_values_can_be_bounded_too() -> None:
    kept = cache(100, entries_max=2)
    for key in "abc":
        kept.put(key, 1, b"x")
    assert (len(kept), kept.last("a")) == (2, None)


def test_one_that_is_larger_than_the_bound_is_kept_alone() -> None:
    kept = cache(3)
    kept.put("a", 1, b"x")
    kept.put("b", 1, b"large")
    assert (kept.last("a"), kept.last("b"), kept.total) == (None, b"large", 5)


async def test_a_value_is_made_once_for_all_callers_that_ask_meanwhile() -> None:
    kept, made = cache(), 0

    async def make() -> tuple[bytes, bool]:
        nonlocal made
        made += 1
        await trio.lowlevel.checkpoint()
        return b"one", True

    async def ask() -> None:
        assert await kept.fetch("a", 1, make) == b"one"

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)
    assert made == 1
    await ask()
    assert made == 1


async def test_what_is_not_worth_keeping_is_made_again_and_drops_what_was_kept() -> None:
    kept = cache()
    kept.put("a", 1, b"old")

    async def make() -> tuple[bytes, bool]:
        return b"", False

    assert await kept.fetch("a", 2, make) == b""
    assert (len(kept), kept.total) == (0, 0)


async def test_what_cannot_be_made_is_asked_for_again() -> None:
    kept = cache()

    async def fail() -> tuple[bytes, bool]:
        raise ValueError("no")

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await kept.fetch("a", 1, fail)
    assert len(kept) == 0


def test_where_there_is_no_room_the_holder_of_most_gives_up_what_it_used_least_lately() -> None:
    kept = SharedCache[bytes](10, len)
    kept.put("steady", "a", b"12")
    kept.put("many", 1, b"123")
    kept.put("many", 2, b"123")
    assert kept.get("many", 1) == b"123"
    for number in range(3, 20):
        kept.put("many", number, b"123")
        assert kept.get("many", 1) == b"123", "it is in use"
    assert kept.get("steady", "a") == b"12"
    assert kept.get("many", 2) is None
    assert (len(kept), kept.total) == (3, 8)


def test_a_value_takes_the_place_of_that_of_its_key_and_the_last_one_stays() -> None:
    kept = SharedCache[bytes](10, len)
    kept.put("one", "a", b"12")
    kept.put("one", "a", b"123")
    assert (kept.get("one", "a"), len(kept), kept.total) == (b"123", 1, 3)
    kept.put("other", "b", b"x" * 11)
    assert (kept.get("one", "a"), len(kept), kept.total) == (b"123", 1, 3)
    kept = SharedCache[bytes](10, len)
    kept.put("other", "b", b"x" * 11)
    assert (kept.get("other", "b"), kept.get("other", "c"), kept.get("none", "b")) == (b"x" * 11, None, None)
