from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.events import CheckEvent, Event, InstanceEvent, MemberEvent, Snapshot
from gossipreg.frontends.http import event_encoder as module
from gossipreg.frontends.http.event_encoder import _GROUP_MAX, EventEncoder, _groups, frame
from gossipreg.frontends.serving.response import ByteChunks
from gossipreg.model import Health, Instance
from tests.frontends.fake_node import member


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


async def test_what_many_are_told_is_made_once(made: list[Event]) -> None:
    event_encoder, one = EventEncoder(), instance()
    told = [
        await event_encoder.of([InstanceEvent("added", one), MemberEvent("joined", member("beta", 1))])
        for _ in range(5)
    ]
    assert len(made) == 2
    assert set(told) == {frame(made[0]) + frame(made[1])}


async def test_another_kind_instance_or_state_is_another_event(made: list[Event]) -> None:
    event_encoder, one = EventEncoder(), instance()
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
    assert await event_encoder.of(events) == b"".join(frame(event) for event in events)
    assert made == events


async def test_equal_snapshots_are_made_once_and_others_again(made: list[Event]) -> None:
    event_encoder, one = EventEncoder(), instance()
    first, same = (Snapshot((member("beta", 1),), (one,)) for _ in range(2))
    sent = await event_encoder.of([first])
    assert sent == frame(first)
    assert await event_encoder.of([same]) is sent
    other = Snapshot((member("beta", 1),), (one, instance(2)))
    assert await event_encoder.of([other]) == frame(other)
    assert await event_encoder.of([first]) == sent
    assert await event_encoder.of([first]) is not sent


async def test_clients_that_come_back_at_once_are_sent_one_snapshot(autojump_clock: object) -> None:
    event_encoder, one = EventEncoder(), instance()
    sent: list[object] = []

    async def come_back() -> None:
        sent.append(await event_encoder.of([Snapshot((), (one,) * 5000)]))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(come_back)
    assert len(sent) == 20
    assert len({id(each) for each in sent}) == 1


def whole(sent: bytes | ByteChunks) -> bytes:
    return sent if isinstance(sent, bytes) else b"".join(sent.parts)


async def test_a_long_snapshot_is_in_pieces_which_the_next_one_shares(made: list[Event]) -> None:
    event_encoder = EventEncoder()
    instances = [instance(number) for number in range(3000)]
    before = Snapshot((member("beta", 1),), tuple(instances))
    instances[1000] = attrs.evolve(instances[1000], weight=7)
    del instances[2000]
    instances.insert(50, instance(9999))
    after = Snapshot((member("beta", 1),), tuple(instances))
    told = [await event_encoder.of([snapshot]) for snapshot in (before, after)]
    assert [whole(each) for each in told] == [frame(before), frame(after)]
    assert [len(each) for each in told] == [len(frame(before)), len(frame(after))]
    assert all(isinstance(each, ByteChunks) for each in told)
    old, new = (each.parts for each in told if isinstance(each, ByteChunks))
    own = [part for part in new if not any(part is other for other in old)]
    assert len(old) > 30
    assert sum(map(len, own)) < sum(map(len, new)) / 5
    assert len(own) <= 3 + 3, "where something changed; the head and the two last"


@given(st.lists(st.text(max_size=3), max_size=300))
def test_instances_are_cut_into_groups_that_hold_them_all_in_their_order(ids: list[str]) -> None:
    instances = tuple(attrs.evolve(instance(), id=each) for each in ids)
    groups = list(_groups(instances))
    assert tuple(each for group in groups for each in group) == instances
    assert all(0 < len(group) <= _GROUP_MAX for group in groups)


async def test_when_it_is_full_the_oldest_gives_way(made: list[Event]) -> None:
    events: list[Event] = [InstanceEvent("added", instance(number)) for number in range(3)]
    event_encoder = EventEncoder(bytes_max=2 * len(frame(events[0])))
    for event in events:
        await event_encoder.of([event])
    await event_encoder.of(events[1:])
    assert len(made) == 3
    assert await event_encoder.of([events[0]]) == frame(events[0])
    assert len(made) == 4


async def test_instances_that_come_and_go_are_never_mistaken_for_each_other() -> None:
    event_encoder = EventEncoder(bytes_max=2000)
    for number in range(500):  # the memory of one is soon that of another
        event = InstanceEvent("added", instance(number))
        assert await event_encoder.of([event]) == frame(event)
