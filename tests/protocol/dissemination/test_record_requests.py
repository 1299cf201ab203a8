"""Record requests: which tables are requested, of which member, and how often."""

from __future__ import annotations

import pytest

from gossipreg import limits
from gossipreg.protocol.dissemination.record_requests import RecordRequests
from gossipreg.protocol.membership.member_update import Destination
from tests.protocol.making import address

B, C = Destination(1, address(7001)), Destination(2, address(7002))


def test_a_table_is_requested_where_it_is_whole_and_then_elsewhere() -> None:
    one = RecordRequests(0.05)
    one.want("o", B, 1.0, wait=0.0)
    assert one.deadline == 1.0
    assert one.take_due(1.0) == [("o", B)]
    assert one.take_due(1.04) == []
    assert one.deadline == pytest.approx(1.05)
    assert one.take_due(one.deadline) == [("o", None)]
    assert one.deadline == pytest.approx(1.15)
    assert one.take_due(one.deadline) == [("o", None)]
    assert one.deadline == float("inf"), "reconciliation brings it"


def test_while_records_are_arriving_it_waits() -> None:
    one = RecordRequests(0.05)
    one.want("o", B, 1.0, wait=0.05)
    one.want("o", C, 1.01, wait=0.05)
    assert one.deadline == 1.05
    assert one.take_due(1.05) == [("o", C)], "of the member that was whole last"


def test_a_member_need_not_be_named() -> None:
    one = RecordRequests(0.05)
    one.want("o", None, 1.0, wait=0.0)
    one.want("o", None, 1.0, wait=0.0)
    assert one.take_due(1.0) == [("o", None)]


def test_a_table_that_became_whole_is_not_requested() -> None:
    one = RecordRequests(0.05)
    one.want("o", B, 1.0, wait=0.0)
    one.got("o")
    one.got("o")
    assert one.deadline == float("inf")
    assert one.take_due(9.0) == []


def test_no_more_tables_are_requested_at_one_time_than_the_limit_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TABLES_REQUESTED_MAX", 2)
    one = RecordRequests(0.05)
    for owner in "bcd":
        one.want(owner, B, 1.0, wait=0.0)
    assert one.take_due(1.0) == [("b", B), ("c", B)]
