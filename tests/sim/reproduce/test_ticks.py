"""memberlist's gossip tick."""

from __future__ import annotations

import math

from gossipreg.protocol.dissemination.broadcast_queue import Topic
from gossipreg_sim.reproduce.profiles import SWIM
from gossipreg_sim.reproduce.ticks import TICK, TickQueue


def broadcasts(next_tick: float = 0.1) -> TickQueue:
    return TickQueue(SWIM.settings, next_tick=next_tick)


def flushed(ticks: TickQueue, room: int, members: int, now: float) -> list[list[bytes]]:
    return [batch.messages for batch in ticks.flush(room, members, now)]


def test_an_empty_queue_has_no_tick() -> None:
    assert broadcasts().deadline == math.inf
    assert flushed(broadcasts(), 1000, 8, 5.0) == []


def test_an_update_waits_for_the_next_tick() -> None:
    ticks = broadcasts()
    ticks.enqueue(Topic.MEMBERSHIP, "a", b"update", 3.05)
    assert math.isclose(ticks.deadline, 3.1)
    assert flushed(ticks, 1000, 8, 3.09) == []
    assert flushed(ticks, 1000, 8, 3.1 + 1e-9) == [[b"update"]]


def test_an_update_is_sent_four_times_per_digit_of_the_member_count() -> None:
    for members, most in ((8, 4), (99, 8), (128, 12)):
        ticks = broadcasts()
        ticks.enqueue(Topic.MEMBERSHIP, "a", b"update", 0.0)
        counts, now = 0, 0.1
        while len(ticks):
            now += TICK
            counts += sum(SWIM.settings.gossip_fanout * len(packet) for packet in flushed(ticks, 1000, members, now))
        assert most <= counts < most + SWIM.settings.gossip_fanout


def test_piggybacked_transmissions_count() -> None:
    ticks = broadcasts()
    ticks.enqueue(Topic.MEMBERSHIP, "a", b"update", 0.0)
    assert [ticks.piggyback(1000, 0.0) for _ in range(5)] == [[b"update"]] * 4 + [[]]


def test_a_newer_update_replaces_the_older() -> None:
    ticks = broadcasts()
    ticks.enqueue(Topic.MEMBERSHIP, "a", b"old", 0.0)
    ticks.enqueue(Topic.MEMBERSHIP, "a", b"new", 0.0)
    assert flushed(ticks, 1000, 8, 0.2) == [[b"new"]]


def test_updates_sent_least_often_go_first_and_the_rest_waits() -> None:
    ticks = broadcasts()
    ticks.enqueue(Topic.MEMBERSHIP, "a", b"aaaa", 0.0)
    assert ticks.piggyback(100, 0.0) == [b"aaaa"]
    ticks.enqueue(Topic.MEMBERSHIP, "b", b"bbbb", 0.0)
    assert flushed(ticks, 7, 8, 0.2) == [[b"bbbb"]]
    assert flushed(ticks, 100, 8, 0.4) == [[b"aaaa", b"bbbb"]]


def test_a_missed_tick_with_queued_updates_is_made_up() -> None:
    ticks = broadcasts()
    ticks.enqueue(Topic.MEMBERSHIP, "a", b"one", 0.0)
    ticks.enqueue(Topic.MEMBERSHIP, "b", b"two", 9.0)
    assert flushed(ticks, 1000, 8, 9.0) == [[b"two", b"one"]]
    assert 9.0 < ticks.next_tick <= 9.0 + TICK
