"""The agenda: by time, then in the order of scheduling."""

from __future__ import annotations

from gossipreg_sim.world import SECOND, World, ns


def test_events_happen_by_time_and_at_one_time_in_the_order_in_which_they_were_scheduled() -> None:
    world, happened = World(1), list[str]()
    world.at(20, lambda: happened.append("late"))
    world.at(10, lambda: happened.append("first"))
    world.at(10, lambda: happened.append("second"))
    world.run(20)
    assert happened == ["first", "second", "late"]
    assert world.events == 3


def test_what_is_due_after_the_end_of_a_run_waits_for_the_next() -> None:
    world, happened = World(1), list[int]()
    world.at(11, lambda: happened.append(world.now))
    world.run(10)
    assert (happened, world.now) == ([], 10)
    world.run(11)
    assert happened == [11]


def test_what_should_have_happened_happens_now() -> None:
    world, happened = World(1), list[int]()
    world.run(10)
    world.at(3, lambda: happened.append(world.now))
    world.run(10)
    assert happened == [10]


def test_seconds_are_whole_nanoseconds() -> None:
    assert ns(0.1) == 100_000_000
    assert World(1, now=3 * SECOND // 2).seconds == 1.5
