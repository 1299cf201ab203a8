"""The event queue: ordered by time, then by scheduling order."""

from __future__ import annotations

from gossipreg_sim.world import SECOND, World, ns


def test_events_run_by_time_and_then_in_scheduling_order() -> None:
    world, happened = World(1), list[str]()
    world.at(20, lambda: happened.append("late"))
    world.at(10, lambda: happened.append("first"))
    world.at(10, lambda: happened.append("second"))
    world.run(20)
    assert happened == ["first", "second", "late"]
    assert world.events == 3


def test_an_event_after_the_end_waits_for_the_next_run() -> None:
    world, happened = World(1), list[int]()
    world.at(11, lambda: happened.append(world.now))
    world.run(10)
    assert (happened, world.now) == ([], 10)
    world.run(11)
    assert happened == [11]


def test_an_overdue_event_runs_now() -> None:
    world, happened = World(1), list[int]()
    world.run(10)
    world.at(3, lambda: happened.append(world.now))
    world.run(10)
    assert happened == [10]


def test_seconds_become_whole_nanoseconds() -> None:
    assert ns(0.1) == 100_000_000
    assert World(1, now=3 * SECOND // 2).seconds == 1.5
