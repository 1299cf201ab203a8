"""A rolling deploy of a FastAPI service under load, behind the balancer and behind HAProxy: no request is lost."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import attrs
import pytest
import trio

from gossipreg.model import Address
from tests.drills.agents import Agent, Agents, Measured, fixed_address
from tests.drills.waiting import eventually, gathered
from tests.frontends.proxy.test_drill import program
from tests.peers.stage import adapted, running, written

#: Requests a second, in all. They are sent by the clock, whether or not those before them were answered.
_RATE: Final = 500.0

#: How many of these are sent on kept connections, by how many callers.
_KEPT_RATE, _KEPT_CALLERS = 100.0, 4

#: Most requests under way: a machine that cannot answer so many a second is asked fewer.
_UNDER_WAY_MAX: Final = 200

#: How long an answer may take before the request is lost (seconds). The machine may be busy.
_PATIENCE: Final = 20.0

_HEAD: Final = b"GET / HTTP/1.1\r\nHost: orders\r\n"


class Lost(Exception):
    """A request had no good answer."""


async def asked(stream: trio.SocketStream, request: bytes) -> str | None:
    """The body of the answer; None if the connection was closed before its first byte. Raises ``Lost``."""
    data = b""
    try:
        await stream.send_all(request)
        while (end := data.find(b"\r\n\r\n")) < 0 or len(data) < end + 4 + length(data[:end]):
            part = await stream.receive_some(65_536)
            if not part:
                break
            data += part
    except trio.BrokenResourceError:
        pass
    if not data:
        return None
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200") or len(body) != length(head):
        raise Lost(repr(data[:200]))
    return body.decode()


def length(head: bytes) -> int:
    """The length of a body, as its head says it."""
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or b"-1")


@attrs.define
class Load:
    """Callers of one address, and what came of their requests."""

    address: Address
    answers: Counter[str] = attrs.field(factory=Counter)  # by version
    lost: list[str] = attrs.field(factory=list)
    repeated: int = 0  # on a kept connection that was closed before anything came, as clients of HTTP do (RFC 9110)
    under_way: int = 0
    began: float = -math.inf

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers.total() / (trio.current_time() - self.began)

    async def is_answered(self) -> None:
        """Assert that a request is answered, before the load begins."""
        try:
            async with await trio.open_tcp_stream(*self.address) as stream:
                assert await asked(stream, _HEAD + b"Connection: close\r\n\r\n")
        except (OSError, trio.BrokenResourceError, Lost) as error:
            raise AssertionError(error) from error

    async def run(self) -> None:
        """Send requests until cancelled."""
        self.began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(_KEPT_CALLERS):
                nursery.start_soon(self._call_on_kept_connections)
            at = self.began
            while True:
                at += 1 / (_RATE - _KEPT_RATE)
                await trio.sleep_until(at)
                if self.under_way < _UNDER_WAY_MAX:
                    self.under_way += 1
                    nursery.start_soon(self._call_once)

    async def _call_once(self) -> None:
        async def ask() -> str | None:
            async with await trio.open_tcp_stream(*self.address) as stream:
                return await asked(stream, _HEAD + b"Connection: close\r\n\r\n")

        await self._count(ask)
        self.under_way -= 1

    async def _call_on_kept_connections(self) -> None:
        stream: trio.SocketStream | None = None

        async def ask() -> str | None:
            nonlocal stream
            if stream is not None:
                answer = await asked(stream, _HEAD + b"\r\n")
                if answer is not None:
                    return answer
                self.repeated += 1
                await trio.aclose_forcefully(stream)
            stream = await trio.open_tcp_stream(*self.address)
            return await asked(stream, _HEAD + b"\r\n")

        at = self.began
        try:
            while True:
                await self._count(ask)
                at += _KEPT_CALLERS / _KEPT_RATE
                await trio.sleep_until(at)
        finally:
            if stream is not None:
                await trio.aclose_forcefully(stream)

    async def _count(self, ask: Callable[[], Awaitable[str | None]]) -> None:
        try:
            with trio.fail_after(_PATIENCE):
                version = await ask()
        except (OSError, trio.BrokenResourceError, trio.TooSlowError, Lost) as error:
            self.lost.append(repr(error))
        else:
            if version is None:
                self.lost.append("closed without an answer")
            else:
                self.answers[version] += 1


@asynccontextmanager
async def through_gossipreg(agent: Agent, dns: str, directory: Path) -> AsyncIterator[Address]:
    at = fixed_address()
    flags = ("--listen", at, "--service", "orders", "--http", agent.http)
    async with program("gossipreg", "proxy", *flags):
        yield Address.parse(at)


@asynccontextmanager
async def through_haproxy(agent: Agent, dns: str, directory: Path) -> AsyncIterator[Address]:
    at, config = fixed_address(), directory / "haproxy.cfg"
    places = {"127.0.0.1:8600": dns, "127.0.0.1:9000": at}
    config.write_text(adapted(written("clients/haproxy.md", "haproxy"), places))
    async with running(directory / "haproxy.log", "haproxy", "-db", "-f", config):
        yield Address.parse(at)


@attrs.define
class Deployment:
    """Instances of the application, each a process of uvicorn."""

    agent: Agent
    directory: Path
    stack: AsyncExitStack
    processes: dict[str, trio.Process] = attrs.field(factory=dict)

    async def start(self, name: str, version: str) -> None:
        """Start an instance, and wait until callers are sent to it."""
        port = fixed_address().rpartition(":")[2]
        told = {"NAME": name, "PORT": port, "SEEDS": self.agent.gossip, "VERSION": version}
        command = ("-m", "uvicorn", "tests.drills.deployed_app:app", "--port", port, "--log-level", "warning")
        log = (self.directory / f"{name}.log").open("wb")
        with log:
            process = await trio.lowlevel.open_process(
                [sys.executable, *command, "--no-access-log"], stdout=log, stderr=log, env=os.environ | told
            )
        self.stack.push_async_callback(process.wait)
        self.stack.callback(process.kill)
        self.processes[name] = process

        async def is_offered() -> None:
            instances = (await self.agent.get("services/orders"))["instances"]
            assert name in {each["owner"] for each in instances}, f"see {log.name}"

        await eventually(is_offered)

    async def stop(self, name: str) -> None:
        """End an instance as a deploy does, by SIGTERM, and wait for its end."""
        process = self.processes[name]
        process.terminate()
        with trio.fail_after(60):
            await process.wait()
        assert "Traceback" not in (self.directory / f"{name}.log").read_text()


@pytest.mark.parametrize(
    "through",
    [
        pytest.param(through_gossipreg, id="gossipreg proxy"),
        pytest.param(
            through_haproxy,
            id="HAProxy",
            marks=pytest.mark.skipif(not shutil.which("haproxy"), reason="haproxy is not installed (Debian: haproxy)"),
        ),
    ],
)
async def test_a_rolling_deploy_loses_no_request(
    agents: Agents,
    tmp_path: Path,
    measured: Measured,
    request: pytest.FixtureRequest,
    through: Callable[[Agent, str, Path], AbstractAsyncContextManager[Address]],
) -> None:
    dns = fixed_address()
    agent = await agents.start("alpha", "--dns", dns)
    async with AsyncExitStack() as stack:
        deployment = Deployment(agent, tmp_path, stack)
        await gathered([partial(deployment.start, name, "old") for name in ("old-1", "old-2")])
        load = Load(await stack.enter_async_context(through(agent, dns, tmp_path)))
        await eventually(load.is_answered)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await until_answered(load, "old", 200)
            await deployment.start("new-1", "new")
            await gathered([partial(deployment.stop, "old-1"), partial(deployment.start, "new-2", "new")])
            await deployment.stop("old-2")
            await until_answered(load, "new", 200)
            rate = load.rate
            nursery.cancel_scope.cancel()
    total = load.answers.total()
    measured(
        f"rolling deploy behind {request.node.callspec.id}: {total} requests at {rate:.0f} a second, {len(load.lost)} "
        f"lost, {load.repeated} repeated on kept connections"
    )
    assert load.lost == []


async def until_answered(load: Load, version: str, count: int) -> None:
    """Wait until ``version`` has answered so many more requests."""
    wanted = load.answers[version] + count

    async def is_answered() -> None:
        assert load.answers[version] >= wanted, (load.answers, load.lost[:3])

    await eventually(is_answered)
