"""A checked service: a small HTTP server whose health a test sets."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio


@attrs.define(eq=False)
class Target:
    """Answers each connection with one response, or not at all while it ``hangs``."""

    port: int = 0
    status: int = 200
    body: bytes = b"fine\n"
    headers: bytes = b""
    raw: bytes | None = None  # said instead of any HTTP
    hangs: bool = False
    asked: list[bytes] = attrs.field(factory=list)  # the heads of the requests
    was_asked: trio.Event = attrs.field(factory=trio.Event)
    open: int = 0
    most: int = 0  # connections at once

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/health"

    async def answer(self, stream: trio.abc.Stream) -> None:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            head = b""
            while b"\r\n\r\n" not in head and (data := await stream.receive_some()):
                head += data
            self.asked.append(head)
            self.was_asked.set()
            if self.hangs:
                await stream.receive_some()  # until the other end gives up
                return
            said = b"HTTP/1.1 %d It Is So\r\ncontent-length: %d\r\n%s\r\n" % (
                self.status,
                len(self.body),
                self.headers,
            )
            await stream.send_all(said + self.body if self.raw is None else self.raw)
        except trio.BrokenResourceError:
            pass  # the client has closed the connection
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def serving(context: ssl.SSLContext | None = None) -> AsyncIterator[Target]:
    """A target on a port of loopback, with TLS if given a context."""
    target = Target()

    async def answer(stream: trio.SocketStream) -> None:
        await target.answer(stream if context is None else trio.SSLStream(stream, context, server_side=True))

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        target.port = listener.socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        yield target
        nursery.cancel_scope.cancel()
