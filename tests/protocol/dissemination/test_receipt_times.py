"""Receipt times: how long a receipt is waited for."""

from __future__ import annotations

import pytest

from gossipreg.protocol.dissemination.receipt_times import ReceiptTimes


def times() -> ReceiptTimes:
    return ReceiptTimes(0.01, 0.05, 0.5)


def test_while_nothing_is_measured_it_follows_the_pings() -> None:
    assert times().timeout(None) == 0.05
    assert times().timeout(0.001) == 0.01, "no less than the least"
    assert times().timeout(0.01) == pytest.approx(0.03)
    assert times().timeout(1.0) == 0.05, "a ping that was lost says nothing"


def test_it_follows_what_receipts_took_and_how_much_that_varies() -> None:
    one = times()
    one.measured(0.02)
    assert one.timeout(None) == pytest.approx(0.02 + 4 * 0.01)
    one.measured(0.04)
    variation = 0.75 * 0.01 + 0.25 * 0.02
    assert one.timeout(0.001) == pytest.approx(0.875 * 0.02 + 0.125 * 0.04 + 4 * variation)


def test_it_stays_within_its_bounds() -> None:
    one = times()
    for _ in range(50):
        one.measured(0.0001)
    assert one.timeout(None) == 0.01
    one.measured(10.0)
    assert one.timeout(None) == 0.5
