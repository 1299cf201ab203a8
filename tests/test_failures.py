"""The reason of a failure is told in a few words."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from gossipreg.failures import reason_of


def failure(error: BaseException, cause: BaseException | None = None) -> BaseException:
    error.__cause__ = cause
    return error


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (REFUSED, "connection refused"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Error connecting to ('::1', 1): refused"), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version"), "[ssl: wrong_version_number] wrong version"),
        (failure(OSError("x"), REFUSED), "connection refused"),
        (failure(OSError("all attempts to connect failed"), REFUSED), "connection refused"),
        (
            failure(
                OSError("all attempts to connect failed"),
                ExceptionGroup("", [REFUSED, REFUSED, OSError(errno.ENETUNREACH, "Network is unreachable")]),
            ),
            "connection refused, network is unreachable",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/a/b"), "/a/b: no such file or directory"),
        (ValueError("two\nlines"), "two lines"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_the_reason_of_a_failure_is_that_of_its_cause_without_its_number(error: BaseException, reason: str) -> None:
    assert reason_of(error) == reason
