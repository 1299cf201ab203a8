"""Record requests: which tables are requested, of which member, and how often."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.dissemination.record_requests import RecordRequests
from gossipreg.protocol.membership.member_update import Destination
from tests.protocol.making import address


def due(of: RecordRequests, now: float) -> list[tuple[str, Destination | None]]:
    return [(each.owner, each.source) for each in of.take_due(now)]


B, C = Destination(1, address(7001)), Destination(2, address(7002))


def test_a_table_is_requested_where_it_is_whole_and_then_elsewhere() -> None:
    one = RecordRequests(0.05)
    one.want("o", B, 1.0, wait=0.0)
    assert one.deadline == 1.0
    assert due(one, 1.0) == [("o", B)]
    assert due(one, 1.04) == []
    assert one.deadline == pytest.approx(1.05)
    assert due(one, one.deadline) == [("o", None)]
    assert one.deadline == pytest.approx(1.15)
    assert due(one, one.deadline) == [("o", None)]
    assert one.deadline == float("inf"), "reconciliation brings it"


def test_while_records_are_arriving_it_waits() -> None:
    one = RecordRequests(0.05)
    one.want("o", B, 1.0, wait=0.05)
    one.want("o", C, 1.01, wait=0.05)
    assert one.deadline == 1.05
    assert due(one, 1.05) == [("o", C)], "of the member that was whole last"


def test_a_member_need_not_be_named() -> None:
    one = RecordRequests(0.05)
    one.want("o", None, 1.0, wait=0.0)
    one.want("o", None, 1.0, wait=0.0)
    assert due(one, 1.0) == [("o", None)]


def test_a_table_that_became_whole_is_not_requested() -> None:
    one = RecordRequests(0.05)
    one.want("o", B, 1.0, wait=0.0)
    one.got("o")
    one.got("o")
    assert one.deadline == float("inf")
    assert due(one, 9.0) == []


def test_no_more_tables_are_requested_at_one_time_than_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TABLES_REQUESTED_MAX", 2)
    one = RecordRequests(0.05)
    for owner in "bcd":
        one.want(owner, B, 1.0, wait=0.0)
    assert due(one, 1.0) == [("b", B), ("c", B)]


def test_of_what_peers_say_that_they_hold_the_latest_counts() -> None:
    one = RecordRequests(0.05)
    for generation, version, source in ((5, 7, B), (5, 6, C), (4, 9, B)):
        one.want_told("o", generation, version, source, 1.0, wait=0.0)
    [wanted] = one.take_due(1.0)
    assert (wanted.owner, wanted.generation, wanted.version, wanted.source) == ("o", 5, 7, B)


def test_what_a_peer_says_beyond_the_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TABLES_REQUESTED_MAX", 1)
    one = RecordRequests(0.05)
    for owner in "bc":
        one.want_told(owner, 1, 2, B, 1.0, wait=0.0)
    assert due(one, 1.0) == [("b", B)]
