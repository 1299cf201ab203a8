"""A client that speaks raw bytes: over streams in memory, where time can be virtual, or over real sockets."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import trio
import trio.testing

from gossipreg.frontends.http.lookups import LookupCache
from gossipreg.frontends.http.native_api import NativeApi
from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.access import Access
from gossipreg.frontends.serving.compatibility_api import CompatibilityApi
from gossipreg.frontends.serving.context import ServerContext
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.frontends.serving.guard import Guard
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode

HTTP = Address("127.0.0.1", 8500)


def dispatcher(node: FakeNode, access: Access | None = None, *apis: CompatibilityApi) -> Dispatcher:
    """What answers the requests of an HTTP listener."""
    server = ServerContext(node, lambda: None, access or Access(), trio.lowlevel.checkpoint)
    return Dispatcher(server, Guard(asked=HTTP, bound=HTTP), NativeApi(LookupCache(node)), apis)


def acceptor(node: FakeNode) -> Acceptor:
    """An HTTP listener without a socket: the connections that it is handed are served."""
    return Acceptor(dispatcher(node))


def dial(listener: Acceptor, nursery: trio.Nursery) -> trio.abc.HalfCloseableStream:
    """A connection to ``listener`` in memory; the client's end of it."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(listener.admit, theirs)
    return ours


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode("latin-1")


def put(body: bytes, *headers: str) -> bytes:
    lines = ["PUT /api/v1/instances HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


@attrs.frozen
class Said:
    """One answer, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Everything until the other side has said that no more will come."""
    return b"".join([bytes(part) async for part in stream])


def answers(data: bytes) -> list[Said]:
    """The answers that ``data`` is made of. Only for those with a Content-Length or without a body."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        status, *lines = head.decode("latin-1").split("\r\n")
        version, code, reason = status.split(" ", 2)
        assert version == "HTTP/1.1"
        assert reason
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        length = int(headers.get("content-length", 0))
        found.append(Said(int(code), headers, data[:length]))
        data = data[length:]
    return found


async def ask(stream: trio.abc.HalfCloseableStream, *requests: bytes) -> list[Said]:
    """Send all of ``requests`` at once, say that no more will come, and return what was answered."""
    await stream.send_all(b"".join(requests))
    await stream.send_eof()
    return answers(await read_all(stream))


async def read_until(stream: trio.abc.ReceiveStream, end: bytes) -> bytes:
    """What comes, up to and including ``end``."""
    data = b""
    while end not in data:
        part = await stream.receive_some()
        assert part, data
        data += part
    return data


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.all: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.all.append(record)


@contextmanager
def no_mistakes() -> Iterator[None]:
    """Fail if the listener logs a bug meanwhile."""
    records = _Records()
    logger = logging.getLogger("gossipreg.frontends.http")
    logger.addHandler(records)
    try:
        yield
    finally:
        logger.removeHandler(records)
    assert not records.all, [record.exc_info for record in records.all]
