"""Each watcher reads the latest changes at its own pace, and leaves nothing behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gossipreg.runtime import change_log as module
from gossipreg.runtime.change_log import ChangeLog, Entry

ORDERS: Entry = ("service", "orders")
STOCK: Entry = ("service", "stock")
ANN: Entry = ("member", "ann")


def test_each_reader_gets_what_was_written_since_it_last_looked() -> None:
    change_log = ChangeLog()
    change_log.write([ORDERS])
    position = change_log.position
    change_log.write([ANN, STOCK])
    assert change_log.since(0) == [ORDERS, ANN, STOCK]
    assert change_log.since(position) == [ANN, STOCK]
    assert change_log.since(change_log.position) == []


async def test_a_position_is_raised_and_all_watchers_compare_everything_again() -> None:
    change_log = ChangeLog(100)
    change_log.write([ORDERS] * 10)
    change_log.raise_to(105)
    assert change_log.since(109) == [ORDERS], "it is beyond that already"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(change_log.wait, 110)
        await trio.testing.wait_all_tasks_blocked()
        change_log.raise_to(112)
    assert (change_log.position, change_log.since(110), change_log.since(112)) == (112, None, [])
    change_log.write([ANN])
    assert change_log.since(112) == [ANN]


def test_what_changed_twice_is_told_once() -> None:
    change_log = ChangeLog()
    change_log.write([ORDERS, ANN, ORDERS])
    assert change_log.since(0) == [ORDERS, ANN]


def test_a_reader_that_fell_too_far_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    change_log = ChangeLog()
    kept = module._KEPT
    change_log.write([ORDERS] * (kept + 1))
    assert change_log.since(1) == [ORDERS]
    assert change_log.since(0) is None


async def test_who_waits_for_anything_wakes_at_the_next_change(nursery: trio.Nursery) -> None:
    change_log = ChangeLog()
    woken: list[int] = []

    async def wait() -> None:
        await change_log.wait(0)
        woken.append(change_log.position)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    change_log.write([ANN])
    await trio.testing.wait_all_tasks_blocked()
    assert woken == [1]


async def test_who_is_behind_does_not_wait() -> None:
    change_log = ChangeLog()
    change_log.write([ANN])
    await change_log.wait(0)


async def test_who_waits_for_one_thing_sleeps_through_all_others(nursery: trio.Nursery) -> None:
    change_log = ChangeLog()
    woken: list[str] = []

    async def wait(name: str, entry: Entry) -> None:
        await change_log.wait_for(entry)
        woken.append(name)

    for name in ("first", "second"):
        nursery.start_soon(wait, name, ORDERS)
    await trio.testing.wait_all_tasks_blocked()
    change_log.write([STOCK, ANN, ("member", "orders")])
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    change_log.write([ORDERS])
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(woken) == ["first", "second"]


async def test_closing_wakes_all_watchers_and_none_waits_again(nursery: trio.Nursery) -> None:
    change_log = ChangeLog()
    nursery.start_soon(change_log.wait, 0)
    nursery.start_soon(change_log.wait_for, ORDERS)
    await trio.testing.wait_all_tasks_blocked()
    change_log.close()
    await change_log.wait(0)
    await change_log.wait_for(STOCK)


async def test_who_gives_up_waiting_leaves_no_bell_behind(nursery: trio.Nursery) -> None:
    change_log = ChangeLog()
    nursery.start_soon(change_log.wait_for, STOCK)
    for _ in range(2):
        with trio.move_on_after(0):
            await change_log.wait_for(ORDERS)
        with trio.move_on_after(0):
            await change_log.wait_for(STOCK)
    assert list(change_log._events) == [STOCK], "the event of a waiting watcher stays"
    change_log.write([STOCK])
    assert not change_log._events
