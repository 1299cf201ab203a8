"""The datagrams that a command sends to its service manager, and what it does with variables that make no sense."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from gossipreg.cli.service_manager import ServiceManager


@attrs.frozen
class Listener:
    """What a service manager hears at a socket."""

    named: str  # as NOTIFY_SOCKET has it
    socket: socket.socket

    def heard(self) -> list[list[str]]:
        """The lines of each datagram so far."""
        datagrams = []
        while True:
            try:
                datagrams.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return datagrams


@pytest.fixture(params=["path", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    named = f"{tmp_path}/notify" if request.param == "path" else f"@gossipreg-test{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.setblocking(False)
        receiver.bind(named if named[0] == "/" else "\0" + named[1:])
        yield Listener(named, receiver)


def test_each_state_is_one_datagram(listener: Listener) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": listener.named}, 7)
    before = time.monotonic_ns() // 1000
    manager.ready("http 127.0.0.1:8500\nMAINPID=1")
    with manager.reloading():
        [reloading] = listener.heard()[1:] or [[]]
    manager.succeeded_by(8)
    manager.stopping("leaving")
    assert reloading[0] == "RELOADING=1"
    assert before <= int(reloading[1].removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    assert listener.heard() == [["READY=1"], ["MAINPID=8"], ["STOPPING=1", "STATUS=leaving"]]


def test_a_status_is_one_line(listener: Listener) -> None:
    ServiceManager.of({"NOTIFY_SOCKET": listener.named}, 7).ready("one\nMAINPID=1")
    assert listener.heard() == [["READY=1", "STATUS=one MAINPID=1"]]


def test_a_reload_that_fails_ends_all_the_same(listener: Listener) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": listener.named}, 7)
    with pytest.raises(ZeroDivisionError), manager.reloading():
        raise ZeroDivisionError
    assert listener.heard()[-1] == ["READY=1"]


async def test_the_event_loop_reports_that_it_lives_twice_in_the_time_that_the_watchdog_allows(
    listener: Listener, autojump_clock: MockClock
) -> None:
    environ = {"NOTIFY_SOCKET": listener.named, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}
    with trio.move_on_after(8):
        await ServiceManager.of(environ, 7).keep_informed()
    assert listener.heard() == [["WATCHDOG=1"]] * 6  # at 0, 1.5, 3, 4.5, 6 and 7.5 s


@pytest.mark.parametrize(
    ("variables", "watchdog"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),  # meant for another process
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_the_watchdog_is_that_of_this_process(variables: dict[str, str], watchdog: float | None) -> None:
    assert ServiceManager.of({"NOTIFY_SOCKET": "@n", **variables}, 7).watchdog == watchdog


def test_a_successor_is_watched_as_the_process_was_that_started_it() -> None:
    environ = {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "6"}
    assert ServiceManager.of(environ, 7, is_successor=True).watchdog == 2.0


async def test_without_a_manager_nothing_is_sent_and_nothing_watched() -> None:
    manager = ServiceManager.of({"WATCHDOG_USEC": "1000000"}, 7)
    assert manager.address is None
    manager.ready("")
    with manager.reloading():
        pass
    await manager.keep_informed()  # returns


@pytest.mark.parametrize(
    ("variable", "value"),
    [("NOTIFY_SOCKET", "relative"), ("NOTIFY_SOCKET", "@"), ("NOTIFY_SOCKET", "vsock:2:9")]
    + [("WATCHDOG_USEC", value) for value in ("soon", "0", "-1", "1.5", "\u0663")],
)
def test_a_value_that_makes_no_sense_is_left_out_with_a_warning(
    variable: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": "@n", variable: value}, 7)
    assert (manager.address, manager.watchdog) == (None if variable == "NOTIFY_SOCKET" else "\0n", None)
    assert caplog.records[0].message.startswith(f"{variable}={value} is not used: ")


@pytest.mark.parametrize("socket_name", ["missing", "x" * 200])
def test_a_manager_that_has_gone_is_warned_of_once(
    socket_name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": str(tmp_path / socket_name)}, 7)
    with caplog.at_level(logging.WARNING):
        manager.ready("")
        manager.alive()
    assert len(caplog.records) == 1
    assert "cannot be told READY=1" in caplog.text


def test_a_manager_that_reads_nothing_does_not_stop_the_loop(listener: Listener) -> None:
    manager = ServiceManager.of({"NOTIFY_SOCKET": listener.named}, 7)
    for _ in range(10_000):  # more than its queue holds
        manager.alive()
    assert 0 < len(listener.heard()) < 10_000
