"""What tests of the balancer share: instances that answer, a port that leads to them, and callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random
from typing import Any

import attrs
import pytest
import trio

from gossipreg.frontends.proxy import Forward, Proxy
from gossipreg.model import Address, Instance
from tests.frontends.proxy.making import instance, snapshot

Handler = Callable[[trio.SocketStream], Awaitable[None]]


async def echo(stream: trio.SocketStream) -> None:
    """Give back what comes, and an end for an end."""
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


@attrs.define(eq=False)
class Stage:
    """A nursery in which instances and balancers live; all end with the test."""

    nursery: trio.Nursery

    async def instance(self, name: str, handler: Handler = echo, **fields: Any) -> Instance:
        """A server on loopback that handles every connection so; a connection that breaks is no matter to it."""

        async def handle(stream: trio.SocketStream) -> None:
            with suppress(trio.BrokenResourceError):
                await handler(stream)

        listeners = await self.nursery.start(trio.serve_tcp, handle, 0)
        port = next(
            listener.socket.getsockname()[1] for listener in listeners if ":" not in listener.socket.getsockname()[0]
        )
        return instance(name, port=port, **fields)

    async def named(self, name: str, **fields: Any) -> Instance:
        """A server that says its name to each caller and is done."""

        async def say(stream: trio.SocketStream) -> None:
            await stream.send_all(name.encode())
            await stream.send_eof()
            async for _ in stream:
                pass

        return await self.instance(name, say, **fields)

    async def proxy(self, *instances: Instance, **options: Any) -> tuple[Proxy, Address]:
        """A balancer before these instances; its address."""
        proxy = Proxy(Forward(listen="127.0.0.1:0", service="orders", **options), rng=Random(1))
        proxy.apply([snapshot(*instances)])
        return proxy, await self.nursery.start(proxy.serve)


@pytest.fixture
def stage(nursery: trio.Nursery) -> Stage:
    return Stage(nursery)


async def call(address: Address) -> str:
    """All that is said to a caller that says nothing; empty if it is turned away."""
    async with await trio.open_tcp_stream(*address) as stream:
        await stream.send_eof()
        try:
            return b"".join([bytes(part) async for part in stream]).decode()
        except trio.BrokenResourceError:
            return ""


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds; what must happen first happens in other tasks."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - it may be a counter that is waited for
            await trio.sleep(0.001)
