"""What changed lately can be read by anyone at his own pace, and nobody leaves anything behind."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from gossipreg.runtime import changes as module
from gossipreg.runtime.changes import Changes, Entry

ORDERS: Entry = ("service", "orders")
STOCK: Entry = ("service", "stock")
ANN: Entry = ("member", "ann")


def test_each_reader_gets_what_was_written_since_it_last_looked() -> None:
    changes = Changes()
    changes.write([ORDERS])
    position = changes.position
    changes.write([ANN, STOCK])
    assert changes.since(0) == [ORDERS, ANN, STOCK]
    assert changes.since(position) == [ANN, STOCK]
    assert changes.since(changes.position) == []


async def test_a_position_is_raised_and_everybody_looks_at_everything_again() -> None:
    changes = Changes(100)
    changes.write([ORDERS] * 10)
    changes.raise_to(105)
    assert changes.since(109) == [ORDERS], "it is beyond that already"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(changes.wait, 110)
        await trio.testing.wait_all_tasks_blocked()
        changes.raise_to(112)
    assert (changes.position, changes.since(110), changes.since(112)) == (112, None, [])
    changes.write([ANN])
    assert changes.since(112) == [ANN]


def test_what_changed_twice_is_told_once() -> None:
    changes = Changes()
    changes.write([ORDERS, ANN, ORDERS])
    assert changes.since(0) == [ORDERS, ANN]


def test_a_reader_that_fell_too_far_behind_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = Changes()
    kept = module._KEPT
    changes.write([ORDERS] * (kept + 1))
    assert changes.since(1) == [ORDERS]
    assert changes.since(0) is None


async def test_who_waits_for_anything_wakes_at_the_next_change(nursery: trio.Nursery) -> None:
    changes = Changes()
    woken: list[int] = []

    async def wait() -> None:
        await changes.wait(0)
        woken.append(changes.position)

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    changes.write([ANN])
    await trio.testing.wait_all_tasks_blocked()
    assert woken == [1]


async def test_who_is_behind_does_not_wait() -> None:
    changes = Changes()
    changes.write([ANN])
    await changes.wait(0)


async def test_who_waits_for_one_thing_sleeps_through_all_others(nursery: trio.Nursery) -> None:
    changes = Changes()
    woken: list[str] = []

    async def wait(name: str, entry: Entry) -> None:
        await changes.wait_for(entry)
        woken.append(name)

    for name in ("first", "second"):
        nursery.start_soon(wait, name, ORDERS)
    await trio.testing.wait_all_tasks_blocked()
    changes.write([STOCK, ANN, ("member", "orders")])
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    changes.write([ORDERS])
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(woken) == ["first", "second"]


async def test_closing_wakes_everybody_and_nobody_waits_again(nursery: trio.Nursery) -> None:
    changes = Changes()
    nursery.start_soon(changes.wait, 0)
    nursery.start_soon(changes.wait_for, ORDERS)
    await trio.testing.wait_all_tasks_blocked()
    changes.close()
    await changes.wait(0)
    await changes.wait_for(STOCK)


async def test_who_gives_up_waiting_leaves_no_bell_behind(nursery: trio.Nursery) -> None:
    changes = Changes()
    nursery.start_soon(changes.wait_for, STOCK)
    for _ in range(2):
        with trio.move_on_after(0):
            await changes.wait_for(ORDERS)
        with trio.move_on_after(0):
            await changes.wait_for(STOCK)
    assert list(changes._bells) == [STOCK], "the bell of one who still waits stays"
    changes.write([STOCK])
    assert not changes._bells
