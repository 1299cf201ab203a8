"""Peers' records that are over a limit, obsolete, or of an owner that left."""

from __future__ import annotations

import attrs
import pytest

from gossipreg import limits
from gossipreg.model import Status
from gossipreg.protocol.anti_entropy.reconcile import End
from gossipreg.protocol.registry.records import TableDigest
from tests.protocol.delivering import (
    deliver,
    receive_over_stream,
    replies,
)
from tests.protocol.making import BORN, history
from tests.protocol.test_engine import B, C, among


def test_a_record_over_the_owners_limit_is_counted_and_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 8)
    node = among(B)
    deliver(node, B, *history([(f"x{number}", 1) for number in range(9)]).said)
    assert node.counters["records_over_owner_limit"] == 1


def test_a_peer_with_an_obsolete_record_gets_the_tombstone_in_the_session() -> None:
    x, y, removal = history([("x", 1), ("y", 1), ("x", None)]).said
    node = among(B)
    deliver(node, B, x, y, removal)
    assert replies(receive_over_stream(node, C, x, End())) == [
        TableDigest("b", BORN, 3, removal.table_xor, ("x",)),
        End(),
    ]
    assert deliver(node, C, x) == []


def test_records_of_an_owner_that_left_are_answered_by_its_update_only() -> None:
    node = among(B)
    deliver(node, B, attrs.evolve(B, status=Status.LEFT))
    assert replies(receive_over_stream(node, C, history([("x", 1)]).said[0], End())) == [End()]
