"""A process that takes over: it has the sockets, and the one that it follows waits until it is ready."""

from __future__ import annotations

import json
import os
import socket
import sys

import pytest
import trio

from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy.succession import VARIABLE, Inheritance, start_successor
from gossipreg.model import Address
from tests.frontends.proxy.test_ports import open_descriptors

#: Answers one caller with what it has taken over, once it is ready.
_SUCCESSOR = """
import os, sys
from gossipreg.frontends.proxy.succession import Inheritance
taken = Inheritance.taken(os.environ)
[(address, [listener])] = taken.listeners.items()
assert not any("DESCRIPTORS" in name for name in os.environ)
taken.tell_ready()
listener.setblocking(True)
caller, _ = listener.accept()
caller.sendall(f"{address} {len(taken.metrics)}".encode())
"""


@pytest.fixture
def listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def start(listener: socket.socket, program: str, monkeypatch: pytest.MonkeyPatch) -> trio.Process | None:
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", program])
    with listener, socket.create_server(("127.0.0.1", 0)) as metrics:
        return await start_successor({Address(*listener.getsockname()): [listener]}, [metrics])


async def test_it_serves_the_callers_of_the_socket_once_it_is_ready(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = Address(*listener.getsockname())
    successor = await start(listener, _SUCCESSOR, monkeypatch)
    async with await trio.open_tcp_stream(*at) as stream:
        assert b"".join([bytes(part) async for part in stream]).decode() == f"{at} 1"
    assert successor is not None
    assert await successor.wait() == 0


@pytest.mark.parametrize("program", ["raise SystemExit(2)", "import time; time.sleep(600)", "x = "])
async def test_one_that_is_not_ready_in_time_or_ends_is_none(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, program: str, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gossipreg.frontends.proxy.succession.SUCCESSOR_SECONDS", 0.5)
    before = len(open_descriptors())
    assert await start(listener, program, monkeypatch) is None
    assert "did not take over, and was ended: this one goes on" in caplog.text
    assert len(open_descriptors()) < before, "all are closed, the listener of the test as well"


def test_a_process_that_follows_none_has_nothing() -> None:
    taken = Inheritance.taken({})
    assert (taken.listeners, taken.metrics, taken.is_successor) == ({}, [], False)
    taken.tell_ready()


@pytest.mark.parametrize("told", ["", "5", "{}", json.dumps({"ready": 10**6, "listeners": {}, "metrics": []})])
def test_what_no_balancer_wrote_is_refused(told: str) -> None:
    with pytest.raises(ConfigError, match="is for a balancer that follows another one: unset it"):
        Inheritance.taken({VARIABLE: told})


def test_a_descriptor_that_is_no_listening_socket_is_refused() -> None:
    reading, writing = os.pipe()
    with socket.socket() as plain:
        told = {"ready": writing, "listeners": {"127.0.0.1:9000": [plain.fileno()]}, "metrics": []}
        with pytest.raises(ConfigError, match="is no listening socket"):
            Inheritance.taken({VARIABLE: json.dumps(told)})
    os.close(reading)
    os.close(writing)
