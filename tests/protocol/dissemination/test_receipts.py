"""Receipts owed to peers: when they are sent, and what they stand for."""

from __future__ import annotations

from gossipreg import limits
from gossipreg.protocol.dissemination.receipts import OwedReceipts, Receipt
from gossipreg.protocol.membership.member_update import Destination
from tests.protocol.making import address

B, C = Destination(1, address(7001)), Destination(2, address(7002))


def test_a_node_that_owes_none_has_no_deadline() -> None:
    owed = OwedReceipts(0.005)
    assert owed.deadline == float("inf")
    assert owed.take(B, 1.0) is None
    assert owed.due(1.0) == []


def test_the_first_receipt_is_due_at_once() -> None:
    owed = OwedReceipts(0.005)
    owed.owe(B, 7, 1.0)
    assert owed.deadline == 1.0
    assert owed.due(1.0) == [B]
    assert owed.take(B, 1.0) == Receipt((7,))
    assert owed.deadline == float("inf")


def test_those_that_follow_closely_share_a_packet() -> None:
    owed = OwedReceipts(0.005)
    owed.owe(B, 1, 1.0)
    owed.take(B, 1.0)
    owed.owe(B, 2, 1.001)
    owed.owe(B, 3, 1.002)
    owed.owe(C, 4, 1.002)
    assert owed.due(1.002) == [C], "another peer's do not wait"
    assert owed.due(1.0049) == [C]
    assert owed.due(1.005) == [B, C]
    assert owed.take(B, 1.005) == Receipt((2, 3))


def test_a_packet_that_goes_there_takes_them_along_before_they_are_due() -> None:
    owed = OwedReceipts(0.005)
    owed.owe(B, 1, 1.0)
    owed.take(B, 1.0)
    owed.owe(B, 2, 1.001)
    assert owed.take(B, 1.002) == Receipt((2,))


def test_a_full_receipt_does_not_wait() -> None:
    owed = OwedReceipts(0.005)
    owed.owe(B, 0, 1.0)
    owed.take(B, 1.0)
    for number in range(limits.RECEIPT_NUMBERS_MAX - 1):
        owed.owe(B, number, 1.001)
    assert owed.due(1.001) == []
    owed.owe(B, 99, 1.001)
    assert owed.due(1.001) == [B]


def test_a_peer_that_asks_for_more_than_one_receipt_stands_for_gets_no_more_memory() -> None:
    owed = OwedReceipts(0.005)
    for number in range(limits.RECEIPT_NUMBERS_MAX + 10):
        owed.owe(B, number, 1.0)
    receipt = owed.take(B, 1.0)
    assert receipt is not None
    assert len(receipt.numbers) == limits.RECEIPT_NUMBERS_MAX


def test_it_remembers_no_more_peers_than_it_may(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(limits, "TOLD_MAX", 2)
    owed = OwedReceipts(0.005)
    for port in range(5):
        owed.owe(Destination(port, address(8000)), 1, 1.0)
        owed.take(Destination(port, address(8000)), 1.0)
        assert len(owed._sent) <= 2
