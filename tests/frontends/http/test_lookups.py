from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gossipreg.frontends.http import lookups
from gossipreg.frontends.http.lookups import ListedInstances, LookupCache, LookupQuery, RowCache
from gossipreg.frontends.serving.response import Body, ByteChunks
from gossipreg.model import Instance
from tests.frontends.fake_node import FakeNode


def ids(body: Body) -> list[Any]:
    assert isinstance(body, bytes)
    return [each["id"] for each in json.loads(body)["instances"]]


async def test_the_same_lookup_is_asked_of_the_node_once(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="a")
    lookups = LookupCache(fake)
    assert await lookups.body(LookupQuery("orders")) is await lookups.body(LookupQuery("orders"))
    assert fake.lookups == 1


async def test_a_change_is_seen_at_once(fake: FakeNode) -> None:
    lookups = LookupCache(fake)
    assert ids(await lookups.body(LookupQuery("orders"))) == []
    instance = await fake.register("orders", port=80, id="a")
    assert ids(await lookups.body(LookupQuery("orders"))) == ["a"]
    fake.fail_checks(instance)
    assert ids(await lookups.body(LookupQuery("orders"))) == []
    assert ids(await lookups.body(LookupQuery("orders", healthy=False))) == ["a"]
    await fake.deregister("a")
    assert ids(await lookups.body(LookupQuery("orders", healthy=False))) == []


async def test_filters_do_not_share_an_answer(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="a", tags=["x"])
    await fake.register("orders", port=81, id="b", role="x", zone="x")
    lookups = LookupCache(fake)
    assert ids(await lookups.body(LookupQuery("orders", tag="x"))) == ["a"]
    assert ids(await lookups.body(LookupQuery("orders", role="x"))) == ["b"]
    assert ids(await lookups.body(LookupQuery("orders", zone="x"))) == ["b"]
    assert ids(await lookups.body(LookupQuery("orders"))) == ["a", "b"]


async def test_names_that_do_not_exist_cannot_fill_the_cache(fake: FakeNode) -> None:
    await fake.register("orders", port=80)
    lookups = LookupCache(fake, bytes_max=1000)
    kept = await lookups.body(LookupQuery("orders"))
    for number in range(100):
        await lookups.body(LookupQuery(f"nothing-{number}"))
    assert await lookups.body(LookupQuery("orders")) is kept


async def test_when_the_cache_is_full_the_least_recently_used_goes_first(fake: FakeNode) -> None:
    for service in "abc":
        await fake.register(service, port=80)
    size = len(await LookupCache(fake).body(LookupQuery("a")))
    lookups = LookupCache(fake, bytes_max=2 * size)
    first = {service: await lookups.body(LookupQuery(service)) for service in "abc"}
    assert await lookups.body(LookupQuery("c")) is first["c"]
    assert await lookups.body(LookupQuery("b")) is first["b"]
    assert await lookups.body(LookupQuery("a")) == first["a"]
    assert await lookups.body(LookupQuery("a")) is not first["a"]


async def test_an_answer_larger_than_the_cache_is_given_all_the_same(fake: FakeNode) -> None:
    await fake.register("orders", port=80, id="a")
    assert ids(await LookupCache(fake, bytes_max=10).body(LookupQuery("orders"))) == ["a"]


def row_of(number: int, weight: int = 1) -> Instance:
    return Instance(id=f"i{number:03}", service="orders", host="127.0.0.1", port=80, owner="n", weight=weight)


def test_a_row_is_written_once_while_its_instance_is_the_same() -> None:
    rows, one = RowCache(), row_of(1)
    assert rows.of(one) is rows.of(one)
    other = row_of(1)
    assert rows.of(other) == rows.of(one)
    assert json.loads(rows.of(row_of(1, weight=2)))["weight"] == 2


def test_rows_that_no_list_asks_for_any_more_are_dropped() -> None:
    size = len(RowCache().of(row_of(1)))
    rows, kept, dropped = RowCache(bytes_max=20 * size), row_of(1), row_of(2)
    first, gone = rows.of(kept), rows.of(dropped)
    instances = [row_of(number) for number in range(3, 100)]
    for instance in instances:
        rows.of(instance)
        assert rows.of(kept) is first
    assert rows.of(dropped) == gone
    assert rows.of(dropped) is not gone
    assert len(rows._young) + len(rows._old) <= 24


def listed(*weights: int) -> tuple[Instance, ...]:
    return tuple(
        Instance(id=f"{place:04}", service="s", host="h", port=1, weight=each) for place, each in enumerate(weights)
    )


@settings(max_examples=50)
@given(st.lists(st.lists(st.integers(0, 3), max_size=24).map(lambda weights: listed(*weights)), max_size=6))
def test_a_list_that_follows_another_is_as_one_that_follows_none(lists: list[tuple[Instance, ...]]) -> None:
    async def run() -> None:
        before: ListedInstances | None = None
        for index, instances in enumerate(lists):
            kept = tuple(each for each in instances if each.weight)
            before = await ListedInstances.after(before, index, kept, rows.of)
            alone = await ListedInstances.after(None, index, kept, rows.of)
            assert before.body == alone.body
            assert isinstance(before.body, bytes)
            assert [each["weight"] for each in json.loads(before.body)["instances"]] == [each.weight for each in kept]

    rows = RowCache()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups, "_BLOCK_ROWS", 4)
        trio.run(run)


async def test_after_a_change_the_rows_of_its_block_are_written() -> None:
    """However long the list is: the other blocks are copied."""
    asked: list[str] = []

    def row(instance: Instance) -> bytes:
        asked.append(instance.id)
        return b"{}"

    before = listed(*range(5000))
    first = await ListedInstances.after(None, 1, before, row)
    asked.clear()
    changed = (*before[:700], attrs.evolve(before[700], weight=9), *before[702:])
    await ListedInstances.after(first, 2, changed, row)
    assert "0700" in asked
    assert len(asked) < 2 * 64


async def test_a_long_list_is_sent_in_pieces_that_the_next_one_shares(fake: FakeNode) -> None:
    """To join tens of megabytes would stop all other tasks, and each list would take its own memory."""
    for number in range(1000):
        await fake.register("orders", port=80, id=f"i{number:04}")
    lookups = LookupCache(fake)
    first = await lookups.body(LookupQuery("orders"))
    await fake.register("orders", port=81, id="i0500")
    second = await lookups.body(LookupQuery("orders"))
    assert isinstance(first, ByteChunks)
    assert isinstance(second, ByteChunks)
    assert max(map(len, second.parts)) < 64 * 1024
    assert len(set(map(id, second.parts)) - set(map(id, first.parts))) <= 4
    body = b"".join(second.parts)
    assert len(second) == len(body)
    assert ids(body) == [f"i{number:04}" for number in range(1000)]


@pytest.mark.parametrize("tag", [None, "x"])
async def test_while_a_long_list_is_made_others_have_their_turn(fake: FakeNode, tag: str | None) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    for number in range(600):
        await fake.register("orders", port=80, id=f"i{number:04}", tags=["x"])
    lookups_cache = LookupCache(fake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lookups, "_MANY", 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            body = await lookups_cache.body(LookupQuery("orders", tag=tag))
            assert turns >= (2 if tag is None else 8)
            nursery.cancel_scope.cancel()
    assert isinstance(body, ByteChunks)
    assert len(ids(b"".join(body.parts))) == 600


async def test_a_service_is_decoded_in_slices_before_it_is_looked_up(fake: FakeNode) -> None:
    await LookupCache(fake).body(LookupQuery("orders"))
    assert fake.decoded == ["orders"]
