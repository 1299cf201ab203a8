"""When and for how long updates are broadcast, and which of them share the room in a packet."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg import limits
from gossipreg.protocol.dissemination.broadcast_queue import Batch, BroadcastQueue, Topic, TreeMessage
from gossipreg.protocol.dissemination.receipts import RECEIPT_REQUEST_BYTES
from gossipreg.protocol.engine_settings import EngineSettings
from tests.protocol.making import law

ROOM = 1342
M, R = Topic.MEMBERSHIP, Topic.INSTANCES


def broadcasts(**settings: float) -> BroadcastQueue:
    return BroadcastQueue(EngineSettings(**{"gossip_transmissions": 7, **settings}))  # type: ignore[arg-type]


def say(one: BroadcastQueue, topic: Topic, about: Hashable, data: bytes, now: float, origin: str | None = None) -> None:
    """As if it were said here."""
    one.enqueue(topic, about, data, now, origin=origin, wait=one.settings.gossip_coalesce)


def flushed(one: BroadcastQueue, room: int, members: int, now: float) -> list[list[bytes]]:
    """The packets that go out now, whomever to."""
    return [batch.messages for batch in one.flush(room, members, now)]


def run(one: BroadcastQueue, *, until: float, members: int = 64, room: int = ROOM) -> list[tuple[float, list[bytes]]]:
    """Wake the queue whenever it wants; returns when what was sent."""
    sent = []
    while one.deadline <= until:
        now = one.deadline
        sent += [(now, packet) for packet in flushed(one, room, members, now)]
        assert one.deadline > now
    return sent


def test_with_nothing_to_spread_there_is_nothing_to_do() -> None:
    assert broadcasts().deadline == float("inf")
    assert flushed(broadcasts(), ROOM, 64, 1.0) == []
    assert broadcasts().piggyback(ROOM, 1.0) == []


def test_an_update_is_sent_at_once_and_then_after_gaps_that_double() -> None:
    one = broadcasts()
    say(one, M, "b", b"news", 10.0)
    times = [round(now - 10.0, 3) for now, _ in run(one, until=20.0)]
    assert times == [0.002, 0.012, 0.032, 0.072, 0.152, 0.312, 0.632]


def test_what_has_rounds_left_is_not_dropped_for_its_age() -> None:
    one = broadcasts()
    one.enqueue(M, "b", b"news", 0.0, wait=5000.0)
    assert one.piggyback(0, 4999.0) == []
    assert one.deadline == 5000.0
    assert flushed(one, ROOM, 64, 5000.0) == [[b"news"]]


@pytest.mark.parametrize(("members", "transmit_limit"), [(1, 4), (2, 4), (8, 6), (16, 7), (4000, 7)])
def test_small_clusters_need_fewer_rounds(members: int, transmit_limit: int) -> None:
    one = broadcasts()
    say(one, M, "b", b"news", 0.0)
    assert one.transmit_limit(members) == transmit_limit
    assert len(run(one, until=20.0, members=members)) == transmit_limit


def test_a_newer_update_about_the_same_thing_takes_the_olders_place() -> None:
    one = broadcasts()
    say(one, M, "b", b"old", 0.0)
    say(one, M, "b", b"new", 0.001)
    say(one, R, "b", b"other", 0.001)
    assert len(one) == 2
    assert {data for _, packet in run(one, until=9.0) for data in packet} == {b"new", b"other"}


def test_updates_of_one_moment_share_a_packet() -> None:
    one = broadcasts()
    for number in range(5):
        say(one, M, number, bytes([number]), number * 0.0005)
    [(_, first), *_] = run(one, until=1.0)
    assert sorted(first) == [bytes([number]) for number in range(5)]


@law
@given(
    st.lists(st.tuples(st.sampled_from(Topic), st.integers(0, 50), st.integers(1, 298)), max_size=60),
    st.integers(300, 1400),
    st.integers(1, 5000),
)
def test_budgets_hold_whatever_is_to_be_said(messages: list[tuple[Topic, int, int]], room: int, members: int) -> None:
    one = broadcasts()
    for serial, (topic, about, size) in enumerate(messages):
        say(one, topic, about, serial.to_bytes(2) + bytes(size), serial * 0.001)
    sent: Counter[bytes] = Counter()
    while one.deadline < float("inf"):
        now = one.deadline
        packets = flushed(one, room, members, now)
        assert len(packets) <= limits.FLUSH_PACKETS_MAX
        for packet in packets:
            assert packet
            assert sum(map(len, packet)) <= room
            sent.update(packet)
        assert one.deadline > now
    assert max(sent.values(), default=0) <= one.transmit_limit(members)
    latest = {(topic, about): serial for serial, (topic, about, _) in enumerate(messages)}
    assert {int.from_bytes(data[:2]) for data in sent} == set(latest.values())


@law
@given(st.lists(st.integers(1, 400), max_size=30), st.integers(0, 1400))
def test_riders_fit_and_ride_only_so_often(sizes: list[int], room: int) -> None:
    one = broadcasts()
    for serial, size in enumerate(sizes):
        say(one, Topic(serial % 2), serial, serial.to_bytes(2) + bytes(size), 0.0)
    piggybacks: Counter[bytes] = Counter()
    for _ in range(50):
        piggybacked = one.piggyback(room, 0.001)
        assert sum(map(len, piggybacked)) <= room
        piggybacks.update(piggybacked)
    assert max(piggybacks.values(), default=0) <= 6


def test_an_update_that_had_its_rounds_and_its_piggybacks_is_forgotten() -> None:
    one = broadcasts()
    say(one, M, "b", b"news", 0.0)
    run(one, until=1.0)
    assert len(one) == 1
    assert [one.piggyback(ROOM, 1.0) for _ in range(7)] == [[b"news"]] * 6 + [[]]
    assert len(one) == 0


def test_an_update_that_rode_enough_is_forgotten_after_its_last_round() -> None:
    one = broadcasts()
    say(one, M, "b", b"news", 0.0)
    for _ in range(6):
        assert one.piggyback(ROOM, 0.001) == [b"news"]
    assert one.piggyback(ROOM, 0.001) == []
    assert len(run(one, until=1.0)) == 7
    assert len(one) == 0


def test_an_update_that_finds_no_ride_is_forgotten_after_a_while() -> None:
    one = broadcasts()
    say(one, M, "b", b"old", 0.0)
    run(one, until=1.0)
    say(one, M, "c", b"new", 9.9)
    assert one.piggyback(0, 9.9) == []
    assert len(one) == 2
    assert one.piggyback(0, 10.1) == []
    assert len(one) == 1
    run(one, until=12.0)
    assert one.piggyback(0, 30.0) == []
    assert len(one) == 0


def test_piggybacks_can_be_turned_off() -> None:
    one = broadcasts(piggyback_transmissions=0)
    say(one, M, "b", b"news", 0.0)
    assert one.piggyback(ROOM, 0.0) == []
    run(one, until=1.0)
    assert len(one) == 0


def test_the_queue_drops_its_oldest_and_never_outgrows_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BROADCAST_QUEUE_MAX", 10)
    one = broadcasts()
    for number in range(25):
        say(one, M, number, bytes([number]), 0.0)
        assert len(one) <= 10
    assert one.dropped == 15
    say(one, M, 20, b"again", 0.0)
    assert one.dropped == 15
    [(_, packet), *_] = run(one, until=0.01)
    assert sorted(packet) == sorted([*map(bytes, ([n] for n in range(15, 25) if n != 20)), b"again"])


def test_neither_topic_starves_the_other() -> None:
    one = broadcasts()
    for number in range(500):
        say(one, M, number, b"m" * 60, 0.0)
    for number in range(3):
        say(one, R, number, b"r" * 60, 0.0)
    [first, *_] = flushed(one, ROOM, 64, 0.002)
    assert first[:6] == [b"m" * 60, b"r" * 60] * 3
    assert set(one.piggyback(200, 0.002)) == {b"m" * 60, b"r" * 60}


def test_the_newest_come_first() -> None:
    one = broadcasts()
    for number in range(100):
        say(one, R, number, bytes([number]) * 100, 0.0)
    [first, *_] = flushed(one, 1000, 64, 0.002)
    assert [data[0] for data in first] == list(range(99, 89, -1))


def test_a_burst_is_spread_over_several_flushes_and_no_member_is_left_out() -> None:
    one = broadcasts()
    for number in range(100):
        say(one, R, number, bytes([number]) * 100, 0.0)
    first = flushed(one, 1000, 64, 0.002)
    assert [len(packet) for packet in first] == [10, 10, 10, 10]
    rest = run(one, until=1.0, room=1000)
    sent = {data[0] for packet in first for data in packet} | {data[0] for _, packet in rest for data in packet}
    assert sent == set(range(100))


def test_what_was_never_told_goes_before_repeats() -> None:
    one = broadcasts()
    for number in range(40):
        say(one, M, f"old {number}", bytes([number]) * 100, 0.0)
    while one.deadline < 0.05:
        flushed(one, 1000, 64, one.deadline)
    say(one, M, "new", b"new", 0.1)
    packets = flushed(one, 1000, 64, 0.1 + EngineSettings().gossip_coalesce)
    assert packets[0][0] == b"new"


def test_rounds_that_are_nearly_due_go_along_with_a_packet_that_goes_out_anyway() -> None:
    one = broadcasts(gossip_coalesce=0.0)
    say(one, M, "first", b"first", 0.0)
    flushed(one, ROOM, 64, 0.0)
    flushed(one, ROOM, 64, 0.01)
    say(one, M, "second", b"second", 0.021)
    assert flushed(one, ROOM, 64, 0.021) == [[b"second", b"first"]], "more than half of its gap of 20 ms is over"
    assert one.deadline == pytest.approx(0.031)
    flushed(one, ROOM, 64, 0.031)
    say(one, M, "third", b"third", 0.032)
    assert flushed(one, ROOM, 64, 0.032) == [[b"third"]], "the others have been told just now"


def test_what_is_nearly_due_takes_no_packet_of_its_own() -> None:
    one = broadcasts(gossip_coalesce=0.0)
    say(one, M, "first", b"1" * 60, 0.0)
    flushed(one, 100, 64, 0.0)
    say(one, M, "second", b"2" * 60, 0.009)
    assert flushed(one, 100, 64, 0.009) == [[b"2" * 60]]


# Trees and duplicates


def test_the_first_round_goes_down_the_tree_of_its_origin_and_the_rest_to_members_at_random() -> None:
    one = broadcasts(gossip_receipts=False)
    say(one, R, "x", b"news", 0.0, "owner")
    went = {}
    while one.deadline < 9.0:
        now = one.deadline
        went[round(now, 3)] = one.flush(ROOM, 64, now)
    assert went.pop(0.002) == [Batch("owner", [b"news"])]
    assert list(went) == [0.052, 0.072, 0.112, 0.192, 0.352, 0.672], "after a longer first gap"
    assert set(map(str, went.values())) == {str([Batch(None, [b"news"])])}


def test_what_goes_down_a_tree_does_not_share_a_packet_with_the_rest() -> None:
    one = broadcasts(gossip_receipts=False)
    say(one, R, "x", b"tree", 0.0, "owner")
    say(one, M, "b", b"random", 0.0)
    assert one.flush(ROOM, 64, 0.002) == [Batch("owner", [b"tree"]), Batch(None, [b"random"])]


def test_when_many_send_at_once_all_share_packets() -> None:
    one = broadcasts(gossip_receipts=False)
    for owner in "abc":
        say(one, R, owner, owner.encode(), 0.0, owner)
    [batch] = one.flush(ROOM, 64, 0.002)
    assert batch.origin is None
    assert sorted(batch.messages) == [b"a", b"b", b"c"]


def by_tree(one: BroadcastQueue, now: float, room: int = ROOM) -> list[bytes]:
    """What goes down trees now, to be acknowledged; nothing goes to members at random."""
    assert one.flush(room, 64, now) == []
    return [message.data for message in one.take_tree_messages()]


def test_what_is_acknowledged_goes_down_its_tree_once() -> None:
    one = broadcasts()
    say(one, R, "x", b"news", 0.0, "owner")
    assert one.flush(ROOM, 64, 0.002) == []
    [message] = one.take_tree_messages()
    assert message == TreeMessage((R, "x"), 1, "owner", b"news")
    assert one.take_tree_messages() == []
    assert one.deadline == float("inf")
    assert one.piggyback(ROOM, 1.0) == [], "it is told no other member"
    assert one.is_current(message)
    one.deliveries_ended(message, 1.0)
    assert len(one) == 0
    assert not one.is_current(message)
    one.deliveries_ended(message, 1.0)
    one.gossip(message, 1.0)
    assert len(one) == 0


def test_what_could_not_be_delivered_is_gossiped_at_random() -> None:
    one = broadcasts()
    say(one, R, "x", b"news", 0.0, "owner")
    one.flush(ROOM, 64, 0.002)
    [message] = one.take_tree_messages()
    one.gossip(message, 1.0)
    one.gossip(message, 1.005)
    assert one.flush(ROOM, 64, 1.0) == [Batch(None, [b"news"])]
    assert one.deadline == pytest.approx(1.02), "a second child that could not be reached changes nothing"
    assert one.is_current(message), "its other deliveries go on"
    one.deliveries_ended(message, 1.01)
    assert not one.is_current(message)
    assert one.take_tree_messages() == []
    assert len(run(one, until=9.0)) == one.transmit_limit(64) - 2
    assert one.piggyback(ROOM, 3.0) == [b"news"]


def test_what_is_gossiped_for_one_child_stays_until_the_deliveries_to_the_others_have_ended() -> None:
    one = broadcasts(piggyback_transmissions=1)
    say(one, R, "x", b"news", 0.0, "owner")
    one.flush(ROOM, 64, 0.002)
    [message] = one.take_tree_messages()
    one.gossip(message, 1.0)
    run(one, until=9.0)
    assert one.piggyback(ROOM, 9.0) == [b"news"]
    assert one.piggyback(ROOM, 60.0) == []
    assert one.is_current(message)
    one.deliveries_ended(message, 61.0)
    assert len(one) == 0


def test_a_policy_that_was_delivered_is_sent_once_more_and_piggybacked_for_it_has_no_digest() -> None:
    one = broadcasts()
    say(one, Topic.POLICIES, "x", b"rule", 0.0, "writer")
    one.flush(ROOM, 64, 0.002)
    [message] = one.take_tree_messages()
    one.deliveries_ended(message, 1.0)
    assert one.deadline == 1.0 + EngineSettings().gossip_tree_gap
    assert one.flush(ROOM, 64, one.deadline) == [Batch(None, [b"rule"])]
    assert one.deadline == float("inf")
    assert one.piggyback(ROOM, 1.1) == [b"rule"]


def test_the_head_of_a_cell_that_was_delivered_is_done_with_for_a_later_one_follows() -> None:
    one = broadcasts()
    say(one, Topic.HEADS, "b", b"head", 0.0, "relay")
    one.flush(ROOM, 64, 0.002)
    [message] = one.take_tree_messages()
    one.deliveries_ended(message, 1.0)
    assert len(one) == 0
    assert one.deadline == float("inf")


def test_a_newer_message_is_delivered_in_the_place_of_the_older() -> None:
    one = broadcasts()
    say(one, R, "x", b"old", 0.0, "owner")
    one.flush(ROOM, 64, 0.002)
    [old] = one.take_tree_messages()
    say(one, R, "x", b"new", 0.01, "owner")
    assert not one.is_current(old)
    one.deliveries_ended(old, 0.011)
    assert by_tree(one, 0.012) == [b"new"]


def test_what_is_under_way_is_neither_expired_nor_sent_along() -> None:
    one = broadcasts(gossip_coalesce=0.0)
    say(one, R, "x", b"tree", 0.0, "owner")
    assert by_tree(one, 0.0) == [b"tree"]
    one.enqueue(M, "b", b"random", 50.0)
    assert one.flush(ROOM, 64, 50.0) == [Batch(None, [b"random"])]
    assert one.piggyback(ROOM, 50.0) == [b"random"]
    assert len(one) == 2


def test_a_burst_goes_down_a_tree_a_few_packets_at_a_time() -> None:
    one = broadcasts()
    for number in range(100):
        say(one, R, number, bytes([number]) * 100, 0.0, "owner")
    first = by_tree(one, 0.002, room=1000)
    assert len(first) == 10 * limits.FLUSH_PACKETS_MAX
    rest = []
    while one.deadline < 1.0:
        rest += by_tree(one, one.deadline, room=1000)
    assert sorted(first + rest) == [bytes([number]) * 100 for number in range(100)]


def test_what_does_not_fit_a_packet_with_its_request_for_a_receipt_is_dropped_and_counted() -> None:
    one = broadcasts()
    say(one, R, "x", bytes(ROOM - RECEIPT_REQUEST_BYTES), 0.0, "owner")
    say(one, R, "y", bytes(ROOM - RECEIPT_REQUEST_BYTES + 1), 0.0, "owner")
    assert by_tree(one, 0.002) == [bytes(ROOM - RECEIPT_REQUEST_BYTES)]
    assert one.dropped == 1


def test_each_of_many_origins_has_its_tree() -> None:
    one = broadcasts()
    for owner in "abc":
        say(one, R, owner, owner.encode(), 0.0, owner)
    assert sorted(by_tree(one, 0.002)) == [b"a", b"b", b"c"]


def test_trees_can_be_turned_off() -> None:
    one = broadcasts(gossip_tree=False)
    say(one, R, "x", b"news", 0.0, "owner")
    assert one.flush(ROOM, 64, 0.002) == [Batch(None, [b"news"])]
    assert one.deadline == pytest.approx(0.012)


def test_what_is_heard_goes_on_without_waiting() -> None:
    one = broadcasts(gossip_receipts=False)
    one.enqueue(R, "x", b"news", 5.0, origin="owner")
    assert one.flush(ROOM, 64, 5.0) == [Batch("owner", [b"news"])]


def test_who_keeps_hearing_what_he_tells_tells_it_less_often() -> None:
    one = broadcasts()
    say(one, R, "x", b"news", 0.0)
    told = []
    while one.deadline < 9.0:
        now = one.deadline
        told += flushed(one, ROOM, 64, now)
        for _ in range(6):
            one.note_duplicate(R, "x", 64, now)
    assert len(told) == 4, "every round but the last lets one be left out"


def test_hearing_what_was_never_told_leaves_nothing_out() -> None:
    one = broadcasts()
    say(one, R, "x", b"news", 0.0)
    for _ in range(60):
        one.note_duplicate(R, "x", 64, 0.001)
        one.note_duplicate(R, "unknown", 64, 0.001)
    assert one.deadline == pytest.approx(0.002)


def test_duplicates_may_count_for_nothing() -> None:
    one = broadcasts(gossip_duplicates=0)
    say(one, R, "x", b"news", 0.0)
    flushed(one, ROOM, 64, 0.002)
    for _ in range(60):
        one.note_duplicate(R, "x", 64, 0.003)
    assert one.deadline == pytest.approx(0.012)


def test_an_update_that_is_everywhere_before_its_last_round_is_forgotten() -> None:
    one = broadcasts(gossip_duplicates=1, piggyback_transmissions=0)
    say(one, R, "x", b"news", 0.0)
    flushed(one, ROOM, 64, 0.002)
    for _ in range(6):
        one.note_duplicate(R, "x", 64, 0.003)
    assert len(one) == 0
    assert one.deadline == float("inf")


def test_a_round_that_was_put_off_to_the_very_same_moment_is_told_once() -> None:
    one = broadcasts(gossip_tree_gap=0.02, gossip_coalesce=0.0)
    one.enqueue(R, "x", b"news", 0.0, origin="owner")
    one.flush(ROOM, 64, 0.0)
    one.enqueue(M, "b", b"companion", 0.0)
    one._items[R, "x"].due = 0.0
    one._schedule(one._items[R, "x"], 0.02)
    assert flushed(one, ROOM, 64, 0.0) == [[b"companion"]]
    assert sorted(flushed(one, ROOM, 64, 0.02)[0]) == [b"companion", b"news"]


def test_after_news_that_was_sent_late_more_is_held_back_and_what_is_heard_is_not() -> None:
    one = broadcasts(gossip_transmissions=1)
    one.enqueue_own(Topic.INSTANCES, "x", b"x", 0.0, origin="a")
    assert one.deadline == EngineSettings().gossip_coalesce
    flushed(one, ROOM, 64, 0.1)
    one.enqueue_own(Topic.INSTANCES, "y", b"y", 0.1, origin="a")
    assert one.deadline == pytest.approx(0.1 + 2 * EngineSettings().gossip_coalesce)
    one.enqueue(Topic.INSTANCES, "z", b"z", 0.1, origin="b")
    assert one.deadline == 0.1


def test_an_update_that_fills_a_packet_is_sent_and_one_that_is_larger_is_dropped_and_counted() -> None:
    one = broadcasts()
    say(one, M, "a", bytes(ROOM), 0.0)
    say(one, M, "b", bytes(ROOM + 1), 0.0)
    assert flushed(one, ROOM, 64, 1.0) == [[bytes(ROOM)]]
    assert one.dropped == 1
    assert len(one) == 1


def test_of_two_the_newer_is_told_first() -> None:
    one = broadcasts()
    say(one, M, "a", b"older", 0.0)
    say(one, M, "b", b"newer", 0.0)
    assert flushed(one, ROOM, 64, 1.0) == [[b"newer", b"older"]]


def test_what_is_nearly_due_fills_a_packet_to_the_last_byte() -> None:
    one = broadcasts()
    say(one, M, "a", bytes(100), 0.0)
    for now in (0.002, 0.012):
        assert flushed(one, ROOM, 64, now) == [[bytes(100)]]
    say(one, M, "b", bytes(ROOM - 100), 0.023)
    assert flushed(one, ROOM, 64, 0.025) == [[bytes(ROOM - 100), bytes(100)]]
    assert flushed(one, ROOM, 64, 0.032) == [], "it has had this round"


def test_a_flush_looks_at_what_it_sends_and_not_at_all_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0
    original = BroadcastQueue._send_down_tree

    def counted(self: BroadcastQueue, *given: Any) -> bool:
        nonlocal looked_at
        looked_at += 1
        return original(self, *given)

    monkeypatch.setattr(BroadcastQueue, "_send_down_tree", counted)
    queue = BroadcastQueue(EngineSettings())
    for number in range(2000):
        queue.enqueue(Topic.INSTANCES, number, bytes(100), 0.0, origin="a")
    now, sent = 0.0, list[TreeMessage]()
    queue.flush(1350, 10, now)
    sent += queue.take_tree_messages()
    queue.enqueue(Topic.INSTANCES, 5, bytes(100), 0.0, origin="a")  # takes the place of the one that waits
    looked_at = 0
    while queue.deadline < math.inf:
        now = max(now, queue.deadline)
        queue.flush(1350, 10, now)
        sent += queue.take_tree_messages()
    assert len(sent) == len({message.key for message in sent}) == 2000
    flushes = 2000 / (limits.FLUSH_PACKETS_MAX * 13)
    assert looked_at <= 2000 + 2 * flushes
