"""No long answer holds up others, and none is made twice at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from gossipreg.frontends.serving import limits, time_slices
from gossipreg.frontends.serving.response import ByteChunks
from gossipreg.frontends.serving.time_slices import SingleFlight, TimeSlicer, decoded
from tests.frontends.fake_node import FakeNode


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `perf_counter` shows: each row that is made moves it on by half a slice."""
    now = [0.0]
    monkeypatch.setattr(time_slices, "perf_counter", lambda: now[0])
    return now


def rows(clock: list[float], number: int) -> Iterator[int]:
    for row in range(number):
        clock[0] += limits.SLICE_SECONDS / 2
        yield row


async def test_others_have_their_turn_whenever_a_slice_is_over(clock: list[float]) -> None:
    turns = 0
    slicer = TimeSlicer()

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        assert await slicer.json_list(rows(clock, 10)) == b"[0,1,2,3,4,5,6,7,8,9]"
        nursery.cancel_scope.cancel()
    assert turns >= 3  # of five
    assert slicer.worked == pytest.approx(10 * limits.SLICE_SECONDS / 2)


async def test_rows_that_are_left_out_take_their_time_too(clock: list[float]) -> None:
    with trio.testing.assert_checkpoints():
        assert await TimeSlicer().json_list(None for _ in rows(clock, 10)) == b"[]"


async def test_a_short_answer_costs_no_turn(clock: list[float]) -> None:
    with trio.testing.assert_no_checkpoints():
        assert await TimeSlicer().joined([b"1", b"2"]) == b"[1,2]"


async def test_what_several_ask_for_at_once_is_made_once() -> None:
    flights, made, got = SingleFlight[str](), list[str](), list[str]()

    async def make() -> str:
        made.append("made")
        await trio.lowlevel.checkpoint()
        return f"made {len(made)}"

    async def ask() -> None:
        got.append(await flights.get("key", make))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert got == ["made 1"] * 10
    assert await flights.get("key", make) == "made 2"


async def test_what_the_first_does_not_finish_the_next_makes() -> None:
    flights, got = SingleFlight[str](), list[str]()
    first = trio.CancelScope()

    async def never() -> str:
        await trio.sleep_forever()
        raise AssertionError

    async def fails() -> str:
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError

    async def make() -> str:
        return "made"

    async def begin() -> None:
        with first:
            await flights.get("a", never)

    async def fail() -> None:
        with pytest.raises(ZeroDivisionError):
            await flights.get("b", fails)

    async def ask(key: str) -> None:
        got.append(await flights.get(key, make))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin)
        nursery.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, "a")
        await trio.testing.wait_all_tasks_blocked()
        assert got == []
        first.cancel()
        nursery.start_soon(ask, "b")
    assert got == ["made", "made"]


@pytest.mark.parametrize("count", [0, 1, 2, 9, 400, 20_000])
async def test_a_list_in_chunks_is_the_list(count: int) -> None:
    made = await TimeSlicer().json_chunks({"id": number} for number in range(count))
    assert isinstance(made, ByteChunks) is (count == 20_000)
    whole = b"".join(made.parts) if isinstance(made, ByteChunks) else made
    assert json.loads(whole) == [{"id": number} for number in range(count)]
    assert len(made) == len(whole)


async def test_a_service_is_decoded_a_step_at_a_time() -> None:
    class Packed(FakeNode):
        def decode(self, service: str) -> Iterator[None]:
            for _ in range(100):
                self.decoded.append(service)
                yield

    node = Packed()
    await decoded(node, "orders")
    assert node.decoded == ["orders"] * 100
