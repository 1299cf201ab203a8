"""Deliveries: what is under way, when it is sent again, and when it is delivered."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.dissemination import deliveries as module
from gossipreg.protocol.dissemination.broadcast_queue import Topic, TreeMessage
from gossipreg.protocol.dissemination.deliveries import TRIES, TRIES_BELOW, Deliveries, Delivery
from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes
from gossipreg.protocol.membership.round_trips import RoundTrips

B, C = 11, 12  # run ids


def under_way() -> Deliveries:
    return Deliveries(ReceiptTimes(0.01, 0.05, 0.5), RoundTrips(0.1, 0.5))


def message(serial: int) -> TreeMessage:
    return TreeMessage((Topic.INSTANCES, serial), serial, "owner", b"news")


def begun(one: Deliveries, run_id: int, *serials: int, now: float = 0.0, is_child: bool = True) -> tuple[Delivery, int]:
    delivery = Delivery(run_id, f"m{run_id}", tuple(map(message, serials)), is_child)
    one.begin(delivery)
    return delivery, one.send(delivery, now)


def test_with_nothing_under_way_nothing_is_overdue() -> None:
    one = under_way()
    assert one.deadline == float("inf")
    assert one.take_overdue(100.0) == []
    assert len(one) == 0


def test_a_message_is_delivered_when_all_that_it_went_to_have_it() -> None:
    one = under_way()
    _, first = begun(one, B, 1, 2)
    _, second = begun(one, C, 1)
    assert one.received(B, (first,), 0.001) == [message(2)]
    assert one.received(C, (second,), 0.001) == [message(1)]
    assert len(one) == 0
    assert one.deadline == float("inf")


def test_a_receipt_of_another_member_or_of_no_packet_delivers_nothing() -> None:
    one = under_way()
    _, number = begun(one, B, 1)
    assert one.received(C, (number,), 0.001) == []
    assert one.received(B, (number + 1, 0), 0.001) == []
    assert one.received(B, (number, number), 0.001) == [message(1)], "once"


def test_a_receipt_that_does_not_come_in_time_is_waited_for_in_vain() -> None:
    one = under_way()
    delivery, _ = begun(one, B, 1)
    assert one.deadline == 0.05
    assert one.take_overdue(0.049) == []
    assert one.take_overdue(0.05) == [delivery]
    assert one.take_overdue(0.05) == [], "it is either sent again or given up"


def test_each_wait_but_the_first_is_twice_as_long_as_the_one_before() -> None:
    one = under_way()
    delivery, _ = begun(one, B, 1)
    waits = []
    now = 0.0
    while one.may_repeat(delivery):
        waits.append(round(one.deadline - now, 6))
        now = one.deadline
        [again] = one.take_overdue(now)
        one._lost = 0.0
        if one.may_repeat(again):
            one.send(again, now)
    assert waits == [0.05, 0.05, 0.1, 0.2, 0.4]
    assert len(waits) == TRIES - 1


def test_a_late_receipt_counts_for_all_packets_of_the_delivery() -> None:
    one = under_way()
    delivery, first = begun(one, B, 1)
    one.take_overdue(0.05)
    second = one.send(delivery, 0.05)
    assert first != second
    assert one.received(B, (first,), 0.06) == [message(1)]
    assert one.deadline == float("inf")
    assert one.received(B, (second,), 0.07) == []


def test_the_receipts_of_packets_that_were_given_up_are_still_measured() -> None:
    one = under_way()
    delivery, number = begun(one, B, 1)
    one.take_overdue(0.05)
    one.give_up(delivery)
    assert one.received(B, (number,), 0.3) == []
    assert one.times.timeout(None) > 0.3


def test_with_the_second_repetition_a_childs_children_get_it_too() -> None:
    one = under_way()
    child, _ = begun(one, B, 1)
    below, _ = begun(one, C, 1, is_child=False)
    seen = []
    for _ in range(3):
        seen.append((child.goes_below, below.goes_below))
        one.send(child, 0.0)
        one.send(below, 0.0)
    assert seen == [(False, False), (True, False), (False, False)]


def test_a_childs_child_is_tried_less_often() -> None:
    one = under_way()
    below, _ = begun(one, C, 1, is_child=False)
    tries = 1
    while one.may_repeat(below):
        one.send(below, 0.0)
        tries += 1
    assert tries == TRIES_BELOW


def test_a_peer_that_never_gave_a_receipt_counts_as_silent_after_a_while_and_until_it_gives_one() -> None:
    one = under_way()
    for serial in range(module._SILENT_AFTER):
        assert not one.is_silent(B)
        delivery, number = begun(one, B, serial, now=float(serial))
        one.take_overdue(serial + 0.9)
        one.give_up(delivery)
    assert one.is_silent(B)
    assert not one.may_repeat(delivery)
    one.received(B, (number,), 20.0)
    assert not one.is_silent(B)


def test_a_peer_that_gave_one_never_counts_as_silent_in_that_run() -> None:
    one = under_way()
    _, number = begun(one, B, 1)
    one.received(B, (number,), 0.001)
    for serial in range(2, 2 + 2 * module._SILENT_AFTER):
        delivery, _ = begun(one, B, serial, now=float(serial))
        one.take_overdue(serial + 0.9)
        one.give_up(delivery)
    assert not one.is_silent(B)
    one.keep(frozenset({B}))
    assert not one.is_silent(B)
    one.keep(frozenset())
    assert not one._speaks
    assert not one._unanswered


def test_where_packets_are_lost_it_knows() -> None:
    one = under_way()
    lossy = [one.is_lossy]
    delivery, _ = begun(one, B, 1)
    one.take_overdue(1.0)
    one.give_up(delivery)
    lossy.append(one.is_lossy)
    for serial in range(2, 40):
        _, number = begun(one, B, serial, now=1.0)
        one.received(B, (number,), 1.001)
    lossy.append(one.is_lossy)
    assert lossy == [False, True, False]


def test_where_most_are_lost_no_receipt_is_waited_for() -> None:
    one = under_way()
    one.times.measured(0.2)
    for serial in range(3):
        delivery, _ = begun(one, B, serial, now=float(serial))
        assert one.deadline > serial + 0.1
        one.take_overdue(serial + 0.9)
        one.give_up(delivery)
    begun(one, B, 9, now=9.0)
    assert one.deadline == pytest.approx(9.01)


def test_the_typical_ping_gives_the_first_timeout() -> None:
    one = under_way()
    for run_id, trip in ((1, 0.004), (2, 0.008), (3, 5.0)):
        one.trips.measured(run_id, trip)
    begun(one, B, 1)
    assert one.deadline == pytest.approx(0.024)


def test_what_was_replaced_is_not_delivered_any_more() -> None:
    one = under_way()
    delivery, _ = begun(one, B, 1, 2)
    one.narrow(delivery, (message(2),))
    assert delivery.messages == (message(2),)
    one.give_up(delivery)
    assert not one._open


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERIES_MAX", 3)
    one = under_way()
    for serial in range(3):
        assert one.has_room
        delivery, _ = begun(one, B, serial)
    assert not one.has_room
    for _ in range(module._LATE_MAX + 10):
        one.send(delivery, 0.0)
    assert len(one._sent) == 3 + module._LATE_MAX


def test_the_numbers_of_packets_begin_again() -> None:
    one = under_way()
    one._number = 0xFFFF_FFFF
    assert begun(one, B, 1)[1] == 1


def test_a_host_that_is_late_does_not_look_like_a_lossy_network() -> None:
    """Every receipt comes after its packet was sent again, so no packet was lost: the wait for one grows."""
    one = under_way()
    now, waits = 0.0, []
    for serial in range(40):
        delivery, _ = begun(one, B, serial, now=now)
        waits.append(one.deadline - now)
        while (due := one.deadline) < now + 0.3:
            assert one.take_overdue(due) == [delivery]
            one.send(delivery, due)
        now += 0.3
        one.received(B, tuple(delivery.numbers), now)
    assert not one.is_lossy
    assert waits[-1] > 0.3
    assert min(waits[10:]) > waits[0]
