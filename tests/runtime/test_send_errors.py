"""What this host's kernel refuses to send is counted by errno, and logged seldom."""

from __future__ import annotations

import errno
import logging

import pytest

from gossipreg.model import Address
from gossipreg.runtime.diagnostics import SendErrors

THERE = Address("10.0.0.2", 7940)


def test_it_is_counted_each_time_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    errors = SendErrors(clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            errors.record(OSError(errno.ENETUNREACH, "Network is unreachable"), THERE)
        errors.record(OverflowError("port"), THERE)
        assert errors.counts == {"ENETUNREACH": 3, "EADDRESS": 1}
        assert len(caplog.messages) == 2
        assert caplog.messages[0] == (
            "cannot send to 10.0.0.2:7940: Network is unreachable (ENETUNREACH); 1 times so far"
        )
        now[0] = 61.0
        errors.record(OSError(errno.ENETUNREACH, "Network is unreachable"), THERE)
    assert caplog.messages[2].endswith("; 4 times so far")


def test_it_is_a_trouble_for_a_while() -> None:
    now = [0.0]
    errors = SendErrors(clock=lambda: now[0])
    assert str(errors.problem) == "None"
    errors.record(OSError(errno.EPERM, "Operation not permitted"), THERE)
    now[0] = 9.0
    assert str(errors.problem) == "cannot send to 10.0.0.2:7940: Operation not permitted (EPERM)"
    now[0] = 11.0
    assert str(errors.problem) == "None"
