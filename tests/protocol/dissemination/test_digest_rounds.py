"""Digest rounds: when the digest of a changed table is told, and how often."""

from __future__ import annotations

import pytest

from gossipreg.protocol.dissemination.digest_rounds import DigestRounds


def rounds() -> DigestRounds:
    return DigestRounds(0.05)


def test_when_no_table_has_changed_there_is_nothing_to_tell() -> None:
    one = rounds()
    assert one.deadline == float("inf")
    assert one.take_due(9.0, rounds=1) == []
    assert one.piggyback(5, 9.0) == []
    assert len(one) == 0


def test_a_digest_is_told_when_its_table_has_been_quiet() -> None:
    one = rounds()
    one.changed("b", 1.0)
    one.changed("b", 1.03)
    assert one.is_fresh("b")
    assert one.deadline == pytest.approx(1.08)
    assert one.take_due(1.07, rounds=1) == []
    assert one.take_due(1.08, rounds=1) == ["b"]
    assert not one.is_fresh("b")
    assert one.deadline == float("inf")


def test_a_table_that_keeps_changing_is_told_of_all_the_same() -> None:
    one = rounds()
    now = 1.0
    while one.deadline > now:
        one.changed("b", now)
        now += 0.02
    assert 1.5 < now < 1.65
    assert one.take_due(now, rounds=1) == ["b"]


def test_what_is_nearly_due_goes_along() -> None:
    one = rounds()
    one.changed("b", 1.0)
    one.changed("c", 1.02)
    one.changed("d", 1.04)
    assert one.take_due(1.05, rounds=1) == ["b", "c"]
    assert one.deadline == pytest.approx(1.09)


def test_where_packets_are_lost_it_is_told_again() -> None:
    one = rounds()
    one.changed("b", 1.0)
    assert one.take_due(1.05, rounds=3) == ["b"]
    assert not one.is_fresh("b"), "it is no news any more"
    assert one.deadline == pytest.approx(1.1)
    assert one.take_due(one.deadline, rounds=3) == ["b"]
    assert one.take_due(one.deadline, rounds=3) == ["b"]
    assert one.deadline == float("inf")


def test_a_change_between_two_rounds_begins_them_again() -> None:
    one = rounds()
    one.changed("b", 1.0)
    one.take_due(1.05, rounds=2)
    one.changed("b", 1.06)
    assert one.is_fresh("b")
    assert one.take_due(one.deadline, rounds=2) == ["b"]
    assert one.take_due(one.deadline, rounds=2) == ["b"]
    assert one.deadline == float("inf")


def test_after_its_packet_it_is_piggybacked_a_few_times() -> None:
    one = rounds()
    one.changed("b", 1.0)
    assert one.piggyback(5, 1.0) == [], "not before"
    one.take_due(1.05, rounds=1)
    assert [one.piggyback(5, 1.1) for _ in range(4)] == [["b"], ["b"], ["b"], []]
    assert len(one) == 0


def test_a_packet_takes_as_many_as_it_has_room_for_in_turn() -> None:
    one = rounds()
    for owner in "bcd":
        one.changed(owner, 1.0)
    one.take_due(1.05, rounds=1)
    assert [one.piggyback(2, 1.1) for _ in range(3)] == [["b", "c"], ["d", "b"], ["c", "d"]]
    assert one.piggyback(0, 1.1) == []


def test_one_that_finds_no_packet_is_forgotten_after_a_while() -> None:
    one = rounds()
    one.changed("b", 1.0)
    one.take_due(1.05, rounds=1)
    assert one.piggyback(5, 12.0) == []
    assert len(one) == 0


def test_a_table_that_changes_again_is_not_piggybacked_with_its_old_digest() -> None:
    one = rounds()
    one.changed("b", 1.0)
    one.take_due(1.05, rounds=1)
    one.changed("b", 1.06)
    assert one.piggyback(5, 1.07) == []


def test_a_table_that_changes_again_and_again_is_told_of_less_and_less_often() -> None:
    one, now, waits = rounds(), 1.0, []
    for _ in range(6):
        one.changed("a", now)
        waits.append(round((one.deadline - now) / 0.05))
        now = one.deadline
        assert one.take_due(now, rounds=1) == ["a"]
    assert waits == [1, 2, 4, 8, 8, 8]
    one.changed("a", now + 0.05 * 20)
    assert one.deadline == pytest.approx(now + 0.05 * 21), "it has been quiet for long enough"


def test_the_first_that_is_due_counts_however_long_others_wait() -> None:
    one = rounds()
    for now in (1.0, 1.06):
        one.changed("a", now)
        one.take_due(now + 0.051, rounds=1)
    one.changed("a", 1.2)
    assert one.deadline == pytest.approx(1.3)
    one.changed("b", 1.21)
    assert one.deadline == pytest.approx(1.26)
    assert one.take_due(1.26, rounds=1) == ["b"]
    assert one.deadline == pytest.approx(1.3)
