"""Warnings of a port: each kind at a low rate."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from gossipreg.frontends.proxy.limits import COMPLAINT_SECONDS
from gossipreg.frontends.proxy.warnings import RateLimitedWarnings


async def test_each_kind_is_logged_once_in_a_while_and_none_hides_another(
    caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    warnings = RateLimitedWarnings()
    for _ in range(3):
        warnings.warn("no instance of %s", "orders")
        warnings.warn("no descriptors")
    assert caplog.messages == ["no instance of orders", "no descriptors"]
    await trio.sleep(COMPLAINT_SECONDS)
    warnings.warn("no instance of %s", "users")
    assert caplog.messages[2:] == ["no instance of users"]
