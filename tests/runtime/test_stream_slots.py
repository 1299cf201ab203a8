"""Unproven streams are evicted for newcomers, and no source holds more than its share while others wait."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from gossipreg import limits
from gossipreg.runtime.stream_slots import StreamSlots


@pytest.fixture(autouse=True)
def few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "STREAMS_UNPROVEN_MAX", 4)
    monkeypatch.setattr(limits, "STREAMS_IN_MAX", 4)


def test_while_there_is_room_nothing_gives_way() -> None:
    slots = StreamSlots()
    assert [slots.admit(stream, "10.0.0.1") for stream in range(4)] == [None] * 4
    assert slots.prove(3) is None
    assert slots.admit(4, "10.0.0.1") is None


def test_the_oldest_unproven_stream_of_the_greediest_source_gives_way() -> None:
    slots = StreamSlots()
    for stream, host in enumerate(["10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.1"]):
        slots.admit(stream, host)
    assert slots.admit(4, "10.0.0.3") == 1
    assert slots.admit(5, "10.0.0.4") == 2
    assert slots.admit(6, "10.0.0.5") == 0, "all hold one: the oldest"


def test_a_source_that_holds_most_makes_room_for_itself() -> None:
    slots = StreamSlots()
    for stream, host in enumerate(["10.0.0.2", "10.0.0.1", "10.0.0.2", "10.0.0.1"]):
        slots.admit(stream, host)
    assert slots.admit(4, "10.0.0.1") == 1


def test_of_two_sources_that_would_hold_as_many_the_newcomers_gives_way() -> None:
    slots = StreamSlots()
    for stream, host in enumerate(["10.0.0.2", "10.0.0.2", "10.0.0.1", "10.0.0.3"]):
        slots.admit(stream, host)
    assert slots.admit(4, "10.0.0.1") == 2


def test_no_flood_of_strangers_takes_a_proven_slot() -> None:
    slots = StreamSlots()
    for stream in range(4):
        slots.admit(stream, "10.0.0.1")
        assert slots.prove(stream) is None
    for stream in range(10, 100):
        assert slots.admit(stream, f"10.1.0.{stream}") not in range(4)


def test_a_source_with_fewer_proven_streams_takes_a_slot_from_the_one_with_most_and_lifelines_go_last() -> None:
    slots = StreamSlots()
    for stream in range(4):
        slots.admit(stream, "10.0.0.1")
        slots.prove(stream)
    for lifeline in (0, 2, 3):
        slots.keep(lifeline)
    slots.admit(4, "10.0.0.2")
    assert slots.prove(4) == 1
    slots.admit(5, "10.0.0.2")
    assert slots.prove(5) == 0, "the oldest lifeline, where there is nothing else"
    slots.admit(6, "10.0.0.2")
    assert slots.prove(6) == 6, "each has its share"
    slots.admit(7, "10.0.0.1")
    assert slots.prove(7) == 7


def test_what_has_given_way_is_neither_proven_nor_kept() -> None:
    slots = StreamSlots()
    for stream in range(5):
        slots.admit(stream, "10.0.0.1")
    assert slots.prove(0) is None
    slots.keep(0)
    slots.release(0)
    slots.release(1)
    assert slots.admit(5, "10.0.0.1") is None


def test_a_proven_stream_is_proven_once() -> None:
    slots = StreamSlots()
    slots.admit(0, "10.0.0.1")
    assert slots.prove(0) is slots.prove(0) is None


@given(st.lists(st.tuples(st.sampled_from(["admit", "prove", "keep", "release"]), st.integers(0, 30)), max_size=80))
def test_both_pools_stay_within_their_bounds_and_no_source_is_starved(steps: list[tuple[str, int]]) -> None:
    slots, hosts = StreamSlots(), ("10.0.0.1", "10.0.0.2", "10.0.0.3")
    open_streams: dict[int, str] = {}
    proven: set[int] = set()
    for number, (act, chosen) in enumerate(steps):
        victim = None
        if act == "admit":
            victim = slots.admit(number, hosts[chosen % 3])
            open_streams[number] = hosts[chosen % 3]
            assert victim not in proven
        elif not open_streams:
            continue
        else:
            stream = sorted(open_streams)[chosen % len(open_streams)]
            if act == "prove":
                before = Counter(open_streams[each] for each in proven)
                victim = slots.prove(stream)
                if victim == stream:
                    assert before[open_streams[stream]] + 1 >= max(before.values())
                else:
                    proven.add(stream)
            elif act == "keep":
                slots.keep(stream)
            else:
                slots.release(stream)
                open_streams.pop(stream)
                proven.discard(stream)
        if victim is not None:
            del open_streams[victim]
            proven.discard(victim)
        assert len(proven) <= limits.STREAMS_IN_MAX
        assert len(open_streams) - len(proven) <= limits.STREAMS_UNPROVEN_MAX
