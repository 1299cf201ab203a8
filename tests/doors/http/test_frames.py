from __future__ import annotations

import attrs
import pytest

from gossipreg.doors.http import frames as module
from gossipreg.doors.http.frames import Frames, frame
from gossipreg.model import CheckEvent, Event, Health, Instance, InstanceEvent, MemberEvent, Snapshot
from tests.doors.http.fake_node import member


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """The events that were really encoded."""
    found: list[Event] = []

    def counted(event: Event) -> bytes:
        found.append(event)
        return frame(event)

    monkeypatch.setattr(module, "frame", counted)
    return found


def instance(number: int = 1) -> Instance:
    return Instance(id=f"i{number}", service="orders", host="10.0.0.1", port=80, owner="beta", meta={"a": "b"})


def test_what_many_are_told_is_made_once(made: list[Event]) -> None:
    frames, one = Frames(), instance()
    told = [frames.of([InstanceEvent("added", one), MemberEvent("joined", member("beta", 1))]) for _ in range(5)]
    assert len(made) == 2
    assert set(told) == {frame(made[0]) + frame(made[1])}


def test_another_kind_instance_or_state_is_another_event(made: list[Event]) -> None:
    frames, one = Frames(), instance()
    events: list[Event] = [
        InstanceEvent("added", one),
        InstanceEvent("changed", one),
        InstanceEvent("changed", attrs.evolve(one, health=Health.WARNING)),
        InstanceEvent("changed", instance(2)),
        MemberEvent("joined", member("beta", 1)),
        MemberEvent("left", member("beta", 1)),
        MemberEvent("joined", member("beta", 2)),
        CheckEvent("flapping", "i1", "orders", "http", Health.PASSING),
    ]
    assert frames.of(events) == b"".join(frame(event) for event in events)
    assert made == events


def test_equal_snapshots_are_made_once_and_others_again(made: list[Event]) -> None:
    frames, one = Frames(), instance()
    first, same = (Snapshot((member("beta", 1),), (one,)) for _ in range(2))
    assert frames.of([first]) is not None
    assert frames.of([same]) == frame(first)
    assert len(made) == 1
    other = Snapshot((member("beta", 1),), (one, instance(2)))
    assert frames.of([other]) == frame(other)
    assert frames.of([first]) == frame(first)
    assert len(made) == 3


def test_when_it_is_full_the_oldest_gives_way(made: list[Event]) -> None:
    events: list[Event] = [InstanceEvent("added", instance(number)) for number in range(3)]
    frames = Frames(bytes_max=2 * len(frame(events[0])))
    for event in events:
        frames.of([event])
    frames.of(events[1:])
    assert len(made) == 3
    assert frames.of([events[0]]) == frame(events[0])
    assert len(made) == 4


def test_instances_that_come_and_go_are_never_mistaken_for_each_other() -> None:
    frames = Frames(bytes_max=2000)
    for number in range(500):  # the memory of one is soon that of another
        event = InstanceEvent("added", instance(number))
        assert frames.of([event]) == frame(event)
