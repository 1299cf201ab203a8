"""Deliveries: what is under way, when it is sent again, and when it is delivered."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.dissemination import deliveries as module
from gossipreg.protocol.dissemination.broadcast_queue import Topic, TreeMessage
from gossipreg.protocol.dissemination.deliveries import ADOPTED_TRIES, SILENT_TRIES, TRIES, Deliveries, Delivery
from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes
from gossipreg.protocol.membership.round_trips import RoundTrips

B, C = 11, 12  # run ids


def under_way() -> Deliveries:
    return Deliveries(ReceiptTimes(0.01, 0.05, 0.5), RoundTrips(0.1, 0.5))


def message(serial: int) -> TreeMessage:
    return TreeMessage((Topic.INSTANCES, serial), serial, "owner", b"news")


def begun(
    one: Deliveries, run_id: int, *serials: int, now: float = 0.0, is_adopted: bool = False
) -> tuple[list[Delivery], int]:
    """Deliveries of messages to that run, sent in one packet, and its number."""
    packet = [one.begin(message(serial), run_id, f"m{run_id}", is_adopted=is_adopted) for serial in serials]
    deliveries = [each for each in packet if each is not None]
    assert len(deliveries) == len(serials)
    return deliveries, one.send(deliveries, now)


def in_vain(one: Deliveries, run_id: int, serial: int, now: float) -> Delivery:
    """A delivery that is given up after one packet without a receipt."""
    [delivery], _ = begun(one, run_id, serial, now=now)
    assert one.take_overdue(now + 0.9) == [[delivery]]
    one.end(delivery)
    return delivery


def test_with_nothing_under_way_nothing_is_overdue() -> None:
    one = under_way()
    assert one.deadline == float("inf")
    assert one.take_overdue(100.0) == []
    assert len(one) == 0
    assert not one.is_open(message(1))


def test_a_message_is_delivered_when_all_that_it_went_to_have_it() -> None:
    one = under_way()
    _, first = begun(one, B, 1, 2)
    _, second = begun(one, C, 1)
    assert one.received(B, (first,), 0.001) == [message(2)]
    assert (one.is_open(message(1)), one.is_open(message(2))) == (True, False)
    assert one.received(C, (second,), 0.001) == [message(1)]
    assert len(one) == 0
    assert one.deadline == float("inf")


def test_a_message_is_under_way_to_one_member_once() -> None:
    one = under_way()
    begun(one, B, 1)
    assert one.begin(message(1), B, "mB") is None
    assert len(one) == 1


def test_a_receipt_of_another_member_or_of_no_packet_delivers_nothing() -> None:
    one = under_way()
    _, number = begun(one, B, 1)
    assert one.received(C, (number,), 0.001) == []
    assert one.received(B, (number + 1, 0), 0.001) == []
    assert one.received(B, (number, number), 0.001) == [message(1)], "once"


def test_a_receipt_that_does_not_come_in_time_is_waited_for_in_vain() -> None:
    one = under_way()
    deliveries, _ = begun(one, B, 1)
    others, _ = begun(one, C, 1)
    assert one.deadline == 0.05
    assert one.take_overdue(0.049) == []
    assert one.take_overdue(0.05) == [deliveries, others]
    assert one.take_overdue(0.05) == [], "each is either sent again or ended"


def test_the_first_three_waits_are_equal_and_each_later_one_is_twice_as_long() -> None:
    one = under_way()
    [delivery], _ = begun(one, B, 1)
    waits = []
    now = 0.0
    while one.may_send_again(delivery):
        waits.append(round(one.deadline - now, 6))
        now = one.deadline
        one.take_overdue(now)
        one._lost = 0.0
        one.send([delivery], now)
        one._unanswered.clear()
    assert waits == [0.05, 0.05, 0.05, 0.1, 0.2, 0.4]
    assert len(waits) == TRIES - 1


def test_a_receipt_of_any_packet_that_a_message_was_in_ends_its_delivery() -> None:
    one = under_way()
    [first, second], number = begun(one, B, 1, 2)
    one.take_overdue(0.05)
    again = one.send([first], 0.05)
    assert again != number
    one.send([second], 0.05)
    assert one.received(B, (again,), 0.051) == [message(1)]
    assert one.received(B, (number,), 0.06) == [message(2)]
    assert one.deadline == float("inf")
    assert len(one) == 0


def test_the_receipts_of_packets_that_were_given_up_are_still_measured() -> None:
    one = under_way()
    [delivery], number = begun(one, B, 1)
    one.take_overdue(0.05)
    assert one.end(delivery)
    assert one.received(B, (number,), 0.3) == []
    assert one.times.timeout(None) > 0.3


def test_what_has_waited_for_most_of_its_time_may_go_along() -> None:
    one = under_way()
    [old], _ = begun(one, B, 1)
    [new], _ = begun(one, B, 2, now=0.02)
    begun(one, C, 3)
    assert one.nearly_due(B, 0.034) == []
    assert one.nearly_due(B, 0.036) == [old]
    one.send([old, new], 0.036)
    assert one.nearly_due(B, 0.05) == []
    assert one.deadline == 0.05, "that of another member"
    assert one.nearly_due(99, 1.0) == []


def test_with_the_third_try_a_childs_children_are_adopted() -> None:
    one = under_way()
    [child], _ = begun(one, B, 1)
    [adopted], _ = begun(one, C, 1, is_adopted=True)
    seen = []
    for _ in range(3):
        seen.append((one.wants_graft(child), one.wants_graft(adopted)))
        one.send([child], 0.0)
        one.send([adopted], 0.0)
    assert seen == [(False, False), (True, False), (False, False)]


def test_from_the_third_try_on_a_packet_is_sent_twice() -> None:
    one = under_way()
    [delivery], _ = begun(one, B, 1)
    [adopted], _ = begun(one, C, 1, is_adopted=True)
    copies = [1]
    while one.may_send_again(delivery):
        copies.append(one.copies([delivery]))
        one.send([delivery], 0.0)
    assert copies == [1, 1, 2, 2, 2, 2, 2]
    assert sum(copies) == module.SENDS_MAX
    assert one.copies([adopted]) == 1
    assert one.copies([adopted, delivery]) == 2


def test_an_adopted_child_is_tried_less_often() -> None:
    one = under_way()
    [adopted], _ = begun(one, C, 1, is_adopted=True)
    tries = 1
    while one.may_send_again(adopted):
        one.send([adopted], 0.0)
        tries += 1
    assert tries == ADOPTED_TRIES


def test_a_peer_that_never_gave_a_receipt_is_silent_after_a_while_and_until_it_gives_one() -> None:
    one = under_way()
    for serial in range(module._SILENT_AFTER):
        assert not one.is_silent(B)
        in_vain(one, B, serial, float(serial))
    assert one.is_silent(B)
    assert not one.is_silent(C)
    new = one.begin(message(99), B, "mB")
    assert new is not None
    assert one.wants_graft(new), "its children are adopted at once"
    numbers = [one.send([new], 20.0) for _ in range(SILENT_TRIES)]
    assert not one.may_send_again(new)
    one.received(B, (numbers[0],), 20.0)
    assert not one.is_silent(B)


def test_a_peer_that_gave_receipts_is_silent_after_many_more_packets() -> None:
    one = under_way()
    _, number = begun(one, B, 1)
    one.received(B, (number,), 0.001)
    for serial in range(2, 2 + module._SILENT_AFTER_RECEIPTS):
        assert not one.is_silent(B)
        in_vain(one, B, serial, float(serial))
    assert one.is_silent(B)
    one.keep(frozenset({B}))
    assert one.is_silent(B)
    one.keep(frozenset())
    assert not one._acknowledges
    assert not one._unanswered


def test_packets_count_as_unanswered_not_their_messages() -> None:
    one = under_way()
    begun(one, B, *range(module._SILENT_AFTER))
    one.take_overdue(1.0)
    assert not one.is_silent(B)
    assert one._unanswered[B] == 1


def test_where_packets_are_lost_it_knows() -> None:
    one = under_way()
    lossy = [one.is_lossy]
    in_vain(one, B, 1, 0.0)
    lossy.append(one.is_lossy)
    for serial in range(2, 40):
        _, number = begun(one, B, serial, now=1.0)
        one.received(B, (number,), 1.001)
    lossy.append(one.is_lossy)
    assert lossy == [False, True, False]


def test_one_child_that_does_not_answer_is_no_loss_but_for_the_first_packet() -> None:
    one = under_way()
    [delivery], _ = begun(one, B, 1)
    lost = []
    for number in range(4):
        one.take_overdue(float(number + 1))
        lost.append(one._lost)
        one.send([delivery], float(number + 1))
    assert lost == [0.125] * 4


def test_where_most_are_lost_no_receipt_is_waited_for() -> None:
    one = under_way()
    one.times.measured(0.2)
    for serial in range(3):
        begun(one, B, serial, now=float(serial))
        assert one.deadline > serial + 0.1
        [[delivery]] = one.take_overdue(serial + 0.9)
        one.end(delivery)
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
    [first, second], number = begun(one, B, 1, 2)
    assert one.end(first)
    assert one.received(B, (number,), 0.001) == [message(2)]
    assert second.tries == 1
    assert not one._of_message
    assert not one._open


def test_there_is_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERIES_MAX", 3)
    one = under_way()
    for serial in range(3):
        assert one.has_room
        deliveries, _ = begun(one, B, serial)
    assert not one.has_room
    for _ in range(module._LATE_MAX + 10):
        one.send(deliveries, 0.0)
    assert len(one._packets) == 3 + module._LATE_MAX


def test_the_numbers_of_packets_begin_again() -> None:
    one = under_way()
    one._number = 0xFFFF_FFFF
    assert begun(one, B, 1)[1] == 1


def test_a_host_that_is_late_does_not_look_like_a_lossy_network() -> None:
    """Every receipt comes after its packet was sent again, so no packet was lost: the wait for one grows."""
    one = under_way()
    for serial in range(100, 103):
        in_vain(one, B, serial, 0.0)
    now, waits = 1.0, []
    for serial in range(40):
        [delivery], number = begun(one, B, serial, now=now)
        numbers = [number]
        waits.append(one.deadline - now)
        while (due := one.deadline) < now + 0.3:
            assert one.take_overdue(due) == [[delivery]]
            numbers.append(one.send([delivery], due))
        now += 0.3
        one.received(B, tuple(numbers), now)
    assert waits[0] == pytest.approx(0.01), "so far the network has looked very lossy"
    assert not one.is_lossy
    assert waits[-1] > 0.3
    assert min(waits[10:]) > waits[0]


def test_a_late_receipt_counts_as_one_and_not_as_a_loss() -> None:
    one = under_way()
    in_vain(one, B, 1, 0.0)
    before = one._lost
    [delivery, _], first = begun(one, B, 2, 3, now=10.0)
    [overdue] = one.take_overdue(11.0)
    assert one._lost > before
    second = one.send(overdue, 11.0)
    one.take_overdue(12.0)
    one.received(B, (second,), 12.0)
    assert one._lost > before, "the second packet was not counted, and the first may be lost"
    one.received(C, (first,), 12.0)
    assert one._lost > before, "it was sent to another member"
    for _ in range(2):
        one.received(B, (first,), 12.0)
        assert one._lost == pytest.approx(before * 7 / 8)
    assert first not in one._overdue
    assert delivery.tries == 2


def test_a_packet_with_old_and_new_messages_counts_as_lost_whichever_is_overdue_first() -> None:
    found = []
    for serial in (1, 3):
        one = under_way()
        begun(one, B, serial)
        one.take_overdue(1.0)
        one.received(B, (1,), 1.0)
        new = one.begin(message(2), B, "mB")
        old = one.begin(message(serial), B, "mB")
        assert new is not None
        assert old is not None
        old.tries = 1
        one.send([old, new], 2.0)
        one.take_overdue(3.0)
        found.append(one._lost)
    assert found == [0.125, 0.125]


def test_no_loss_is_noted_of_packets_that_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DELIVERIES_MAX", 3)
    monkeypatch.setattr(module, "_LATE_MAX", 2)
    one = under_way()
    for serial in range(9):
        in_vain(one, B, serial, float(serial))
    assert len(one._overdue) == 5
    assert one._overdue == set(one._packets)


def test_a_packet_that_is_forgotten_before_its_wait_is_over_is_lost_but_no_receipt_of_it_is_expected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "DELIVERIES_MAX", 1)
    monkeypatch.setattr(module, "_LATE_MAX", 0)
    one = under_way()
    [first], forgotten = begun(one, B, 1)
    [second], kept = begun(one, C, 2)
    assert one.take_overdue(0.05) == [[first], [second]]
    assert one._lost == pytest.approx(1 - (7 / 8) ** 2), "both are lost"
    assert one._overdue == {kept}
    assert one.received(B, (forgotten,), 0.06) == []
    assert one.received(C, (kept,), 0.06) == [message(2)]
    assert not one._overdue


def test_of_many_deliveries_only_the_oldest_are_considered_to_go_along() -> None:
    one = under_way()
    for serial in range(1000):
        begun(one, B, serial)
    nearly = one.nearly_due(B, one.deadline)
    assert [each.message.serial for each in nearly] == list(range(128))
