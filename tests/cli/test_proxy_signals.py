"""Signals of a running balancer: what ends it waits for nothing that changes it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Sequence

import attrs
import pytest
import trio

from gossipreg.cli.proxy_signals import Signals
from gossipreg.errors import ConfigError
from gossipreg.frontends.proxy import Forward, Ports
from gossipreg.frontends.proxy.follow import ALONE, Deliver, FollowRule
from gossipreg.model import Address
from tests.cli.test_agent import PATIENCE, Starter, start
from tests.forked_commands import fork_command

__all__ = ["start"]  # the fixture


@attrs.define
class SilentAgent:
    """A source that answers for one service only; a request for another waits for ever."""

    counters: Counter[str] = attrs.field(factory=Counter)
    asked: list[str] = attrs.field(factory=list)
    answers: trio.Event = attrs.field(factory=trio.Event)

    async def follow(
        self,
        service: str,
        deliver: Deliver,
        *,
        rule: FollowRule = ALONE,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.asked.append(service)
        if service != "known":
            await self.answers.wait()
        task_status.started()
        await trio.sleep_forever()


@attrs.define
class Running:
    """A balancer without a process: its ports, and what its signals do."""

    nursery: trio.Nursery
    forwards: list[Forward] = attrs.field(factory=list)
    source: SilentAgent = attrs.field(factory=SilentAgent)
    opened: list[tuple[Address, Forward]] = attrs.field(factory=list)
    ports: Ports = attrs.field(init=False)
    send: trio.MemorySendChannel[int] = attrs.field(init=False)
    signals: Signals = attrs.field(init=False)

    async def begin(self) -> None:
        self.ports = Ports(self.source, self.nursery)
        await self.ports.open([Forward(listen="127.0.0.1:0", service="known")])
        self.send, received = trio.open_memory_channel[int](10)
        self.signals = Signals(self.ports, self.reload, self.opened.extend)
        self.signals.started.set()
        self.nursery.start_soon(self.signals.handle, received)

    def reload(self) -> Sequence[Forward]:
        if not self.forwards:
            raise ConfigError("there is no port")
        return [*(proxy.forward for proxy in self.ports.proxies), *self.forwards]


@pytest.fixture
async def running(nursery: trio.Nursery) -> Running:
    made = Running(nursery)
    await made.begin()
    return made


def free() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return Address(*server.getsockname())


async def until_true(condition: object) -> None:
    with trio.fail_after(60):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110
            await trio.sleep(0.001)


async def test_the_end_does_not_wait_for_a_reload_that_waits_for_its_agent(running: Running) -> None:
    wanted = free()
    running.forwards = [Forward(listen=wanted, service="unknown")]
    await running.send.send(signal.SIGHUP)
    await until_true(lambda: "unknown" in running.source.asked)
    at = running.ports.proxies[0].bound
    assert at is not None
    await running.send.send(signal.SIGTERM)
    with trio.fail_after(60):
        while True:
            try:
                socket.create_connection(at).close()
            except ConnectionRefusedError:
                break
            await trio.sleep(0.01)
    running.source.answers.set()
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert [proxy.forward.service for proxy in running.ports.proxies] == ["known"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(wanted)


async def test_ports_that_a_reload_opens_are_told_and_a_mistake_opens_none(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    await running.send.send(signal.SIGHUP)
    await until_true(lambda: "there is no port (the ports stay as they were)" in caplog.text)
    at = free()
    running.forwards = [Forward(listen=at, service="known")]
    await running.send.send(signal.SIGHUP)
    await until_true(lambda: running.opened)
    assert running.opened == [(at, running.forwards[0])]


async def test_signals_that_come_while_one_is_handled_are_handled_once_more(running: Running) -> None:
    read = 0

    def reload() -> Sequence[Forward]:
        nonlocal read
        read += 1
        return [proxy.forward for proxy in running.ports.proxies]

    running.send.close()
    send, received = trio.open_memory_channel[int](10)
    signals = Signals(running.ports, reload, running.opened.extend)
    running.nursery.start_soon(signals.handle, received)
    for _ in range(5):
        send.send_nowait(signal.SIGHUP)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert read == 0, "the start goes first"
    signals.started.set()
    await until_true(lambda: read >= 1)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert 1 <= read <= 2


async def test_the_end_does_not_wait_for_a_start_that_waits_for_its_agent(nursery: trio.Nursery) -> None:
    ports = Ports(SilentAgent(), nursery)
    opened: list[tuple[Address, Forward]] = []
    signals = Signals(ports, None, opened.extend)
    send, received = trio.open_memory_channel[int](1)
    nursery.start_soon(signals.handle, received)
    send.send_nowait(signal.SIGTERM)
    with trio.fail_after(60), signals.starting:
        await ports.open([Forward(listen="127.0.0.1:0", service="unknown")])
    assert signals.starting.cancelled_caught
    assert not ports.proxies


def test_a_second_signal_ends_it_at_once_with_1(start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        agent = start()
        agent.agent.put("instances", body={"service": "orders", "port": server.getsockname()[1]})
        options = ("--listen", "127.0.0.1:0", "--service", "orders", "--http", agent.ready["http"])
        balancer = fork_command("proxy", *options, "--drain-time", "1h")
        try:
            at = re.search(r"127\.0\.0\.1:[1-9]\d+", balancer.stdout.readline())
            assert at is not None
            with socket.create_connection(Address.parse(at[0])), server.accept()[0]:
                balancer.terminate()
                while can_connect(Address.parse(at[0])):
                    time.sleep(0.01)
                with pytest.raises(subprocess.TimeoutExpired):
                    balancer.wait(0.05)
                balancer.terminate()
                assert balancer.wait(PATIENCE) == 1
        finally:
            balancer.kill()
            balancer.communicate(PATIENCE)


def can_connect(address: Address) -> bool:
    try:
        socket.create_connection(address).close()
    except ConnectionRefusedError:
        return False
    return True
