"""A real balancer before real services, under load, while their owners are killed, leave, and come."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from gossipreg.model import Address
from tests.drills.agents import Agent, Agents, open_agents
from tests.frontends.proxy.conftest import until
from tests.frontends.proxy.test_proxy import can_connect

pytestmark = pytest.mark.slow

#: Callers at once, and the pause of each between two requests (seconds).
_CALLERS: Final = 4
_PAUSE: Final = 0.005

#: How long a request may take before it has failed (seconds).
_PATIENCE: Final = 2.0


@asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[tuple[trio.Process, str]]:
    """A Python program that is running and has said its first line; killed in the end."""
    process = await trio.lowlevel.open_process([sys.executable, "-m", *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        line = b""
        with trio.fail_after(30):
            while not line.endswith(b"\n"):
                part = await process.stdout.receive_some()
                assert part, f"{arguments} ended before it was ready"
                line += part
        yield process, line.decode()
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.stdout.aclose()


@attrs.define
class Load:
    """Callers that ask without end, each request on a connection of its own, and what came of each."""

    address: Address
    patience: float = _PATIENCE  # seconds
    answers: list[tuple[float, str]] = attrs.field(
        factory=list
    )  # when it was sent, and which instance answered; "" for none

    async def call(self) -> None:
        while True:
            began, name = trio.current_time(), ""
            with suppress(OSError, trio.BrokenResourceError), trio.move_on_after(self.patience):
                async with await trio.open_tcp_stream(*self.address) as stream:
                    await stream.send_all(b"?")
                    name = (await stream.receive_some()).decode().partition(" ")[0]
            self.answers.append((began, name))
            await trio.sleep(_PAUSE)

    def since(self, moment: float) -> list[str]:
        """Which instance answered what was sent from that moment on."""
        return [name for began, name in self.answers if began >= moment]


@asynccontextmanager
async def under_load(agent: Agent, *way: str) -> AsyncIterator[Load]:
    """A balancer that follows ``orders`` this ``way``, with callers."""
    arguments = ("gossipreg", "proxy", "--listen", "127.0.0.1:0", "--service", "orders", "--log-format", "json", *way)
    async with program(*arguments) as (process, line):
        load = Load(Address.parse(json.loads(line)["forwards"][0]["listen"]))
        async with trio.open_nursery() as nursery:
            for _ in range(_CALLERS):
                nursery.start_soon(load.call)
            yield load
            nursery.cancel_scope.cancel()
        process.terminate()
        with trio.fail_after(30):
            assert await process.wait() == 0


@pytest.fixture
async def agents(tmp_path: Path) -> AsyncIterator[Agents]:
    async with open_agents(tmp_path) as agents:
        yield agents


def service(name: str, agent: Agent) -> list[str]:
    return ["tests.frontends.proxy.service", name, agent.gossip]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["--http", "--join"])
async def test_a_second_after_an_owner_is_killed_no_request_is_lost(agents: Agents, way: str) -> None:
    agent = await agents.start("agent")
    async with (
        program(*service("a", agent)) as (victim, _),
        program(*service("b", agent)),
        under_load(agent, way, agent.http if way == "--http" else agent.gossip) as load,
    ):
        await until(lambda: set(load.since(0)) >= {"a", "b"})
        killed = trio.current_time()
        victim.kill()
        await trio.sleep(4)
        after = load.since(killed + 1)
    assert len(after) > 50, "there was hardly any load"
    assert set(after) == {"b"}


@pytest.mark.slow
async def test_an_owner_that_leaves_and_one_that_comes_cost_no_request(agents: Agents) -> None:
    agent = await agents.start("agent")
    async with program(*service("a", agent)) as (leaver, _), under_load(agent, "--http", agent.http) as load:
        await until(lambda: "a" in load.since(0))
        async with program(*service("b", agent)):
            begun = trio.current_time()
            await until(lambda: "b" in load.since(begun))
            leaver.terminate()
            with trio.fail_after(30):
                assert await leaver.wait() == 0
            left = trio.current_time()
            await trio.sleep(1)
            assert set(load.since(left)) == {"b"}
            assert "" not in load.since(begun - 1)


#: Becomes the program in its arguments, with the descriptor in the first of them handed over (sd_listen_fds(3)).
_HAND_OVER: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


@asynccontextmanager
async def balancer(listener: socket.socket, agent: Agent) -> AsyncIterator[trio.Process]:
    """A balancer in a process of its own that is handed ``listener``, as a service manager does it; ready."""
    at = Address(*listener.getsockname())
    command = ("-m", "gossipreg", "proxy", "--listen", str(at), "--service", "orders", "--http", agent.http)
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", _HAND_OVER, str(listener.fileno()), *command, "--log-format", "json"],
        stdout=subprocess.PIPE,
        pass_fds=(listener.fileno(),),
    )
    assert process.stdout is not None
    try:
        with trio.fail_after(60):
            assert b'"ready": true' in await process.stdout.receive_some()
        yield process
    finally:
        with trio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.stdout.aclose()


async def test_a_restart_with_a_socket_that_was_handed_over_refuses_no_caller(agents: Agents) -> None:
    agent = await agents.start("agent")
    async with program(*service("a", agent)):
        with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
            load = Load(Address(*listener.getsockname()), patience=60.0)
            async with trio.open_nursery() as nursery:
                async with balancer(listener, agent) as first:
                    for _ in range(_CALLERS):
                        nursery.start_soon(load.call)
                    await until(lambda: len(load.answers) > 20)
                    first.terminate()
                    assert await first.wait() == 0
                async with balancer(listener, agent):
                    again = trio.current_time()
                    await until(lambda: len(load.since(again)) > 20)
                    nursery.cancel_scope.cancel()
    assert set(load.since(0)) == {"a"}


async def test_a_restart_by_sigusr2_refuses_no_caller_and_cuts_none_that_ends_in_time(agents: Agents) -> None:
    agent = await agents.start("agent")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        at, metrics = (Address(*each.getsockname()) for each in (one, other))
    where = ("--listen", str(at), "--metrics", str(metrics), "--drain-time", "3600")
    command = ("gossipreg", "proxy", *where, "--service", "orders", "--http", agent.http, "--log-format", "json")
    async with program(*service("a", agent)), program(*command) as (first, _):
        load = Load(at, patience=60.0)
        assert first.stdout is not None
        kept = await trio.open_tcp_stream(*at)
        async with kept, trio.open_nursery() as nursery:
            await kept.send_all(b"?")
            assert await kept.receive_some() == b"a ?"
            for _ in range(_CALLERS):
                nursery.start_soon(load.call)
            await until(lambda: len(load.answers) > 20)
            first.send_signal(signal.SIGUSR2)
            with trio.fail_after(60):
                second = json.loads(await first.stdout.receive_some())
            assert second["forwards"][0]["listen"] == str(at)
            again = trio.current_time()
            await until(lambda: len(load.since(again)) > 100)
            await kept.send_all(b"still here?")
            assert await kept.receive_some() == b"a still here?"
            await kept.aclose()
            with trio.fail_after(60):
                assert await first.wait() == 0, "it ends with its last connection"
            ended = trio.current_time()
            await until(lambda: len(load.since(ended)) > 20)
            successor = await trio.to_thread.run_sync(listening_process, at)
            nursery.cancel_scope.cancel()
        os.kill(successor, signal.SIGTERM)
        await until(lambda: not can_connect(at))
    assert set(load.since(0)) == {"a"}


def listening_process(at: Address) -> int:
    """The process that listens there, as the kernel tells it of sockets and descriptors."""
    inode = next(
        fields[9]
        for fields in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[1].endswith(f":{at.port:04X}") and fields[3] == "0A"
    )
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(descriptor) == f"socket:[{inode}]":
                return int(descriptor.parts[2])
    raise AssertionError(f"no process listens at {at}")


async def test_on_sighup_the_ports_are_read_again_and_a_mistake_changes_nothing(agents: Agents, tmp_path: Path) -> None:
    agent = await agents.start("agent")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        first, second = (Address(*each.getsockname()) for each in (one, other))
    file = tmp_path / "ports.toml"
    file.write_text(f'[[forward]]\nlisten = "{first}"\nservice = "orders"\n')
    arguments = ("gossipreg", "proxy", "--forwards", str(file), "--http", agent.http)
    async with program(*service("a", agent)), program(*arguments) as (process, _):
        load = Load(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.call)
            await until(lambda: "a" in load.since(0))
            file.write_text("[[forward]]\nlisten = 7\n")
            process.send_signal(signal.SIGHUP)
            begun = trio.current_time()
            await until(lambda: len(load.since(begun)) > 20)
            file.write_text("".join(f'[[forward]]\nlisten = "{at}"\nservice = "orders"\n' for at in (first, second)))
            process.send_signal(signal.SIGHUP)
            more = Load(second)
            nursery.start_soon(more.call)
            await until(lambda: "a" in more.since(0))
            nursery.cancel_scope.cancel()
        assert set(load.since(0)) == {"a"}
        process.terminate()
        assert await process.wait() == 0


async def test_a_small_share_of_short_connections_is_exact_however_many_call(agents: Agents) -> None:
    agent = await agents.start("agent")

    async def answer(name: str, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in stream:
                await stream.send_all(name.encode() + b" " + data)

    async with trio.open_nursery() as nursery:
        for name, weight in (("small", 1), ("big", 99)):
            (listener,) = await nursery.start(partial(trio.serve_tcp, partial(answer, name), 0, host="127.0.0.1"))
            await agent.register("orders", listener.socket.getsockname()[1], id=name, weight=weight)
        async with under_load(agent, "--http", agent.http) as load:
            await until(lambda: len(load.answers) > 2000)
        nursery.cancel_scope.cancel()
    answers = load.since(0)
    assert abs(answers.count("small") - len(answers) / 100) <= _CALLERS + 2
