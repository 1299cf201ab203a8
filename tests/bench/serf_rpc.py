"""A client of a Serf agent: MessagePack over TCP, as Serf's documentation describes its RPC protocol.

A request is a header, `{"Command", "Seq"}`, and for most commands a body; an answer is a header, `{"Seq", "Error"}`,
and for some commands a body. The first command on a connection is `handshake`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import msgpack
import trio

from tests.bench.processes import BenchError

_READ_BYTES = 262_144


@attrs.define(eq=False)
class SerfRpc:
    """One connection to one agent, past its handshake."""

    port: int
    stream: trio.SocketStream
    # Addresses are raw bytes in a field for text.
    _answers: Any = attrs.field(factory=lambda: msgpack.Unpacker(unicode_errors="surrogateescape"))
    _seq: int = 0

    async def members(self) -> list[dict[str, Any]]:
        """Every member that the agent knows: `Name`, `Status`, `Tags` and more."""
        await self._ask("members")
        found: list[dict[str, Any]] = (await self._next())["Members"]
        return found

    async def set_tags(self, tags: dict[str, str]) -> None:
        """Set tags of the agent itself, beside those that it has."""
        await self._ask("tags", {"Tags": tags, "DeleteTags": []})

    async def shake_hands(self) -> None:
        """Agree on a version of the protocol; there is only one."""
        await self._ask("handshake", {"Version": 1})

    async def _ask(self, command: str, body: Any = None) -> None:
        """Send a command and await the header of its answer. Raises ``BenchError`` for a refusal."""
        header = {"Command": command, "Seq": self._seq}
        self._seq += 1
        await self.stream.send_all(msgpack.packb(header) + (b"" if body is None else msgpack.packb(body)))
        answer = await self._next()
        if answer["Error"]:
            raise BenchError(f"Serf at 127.0.0.1:{self.port} refused {command}: {answer['Error']}")

    async def _next(self) -> Any:
        while True:
            for found in self._answers:
                return found
            said = await self.stream.receive_some(_READ_BYTES)
            if not said:
                raise BenchError(f"Serf at 127.0.0.1:{self.port} broke off its answer")
            self._answers.feed(said)


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[SerfRpc]:
    """Connect to the agent whose RPC listens at this port of 127.0.0.1. Raises ``BenchError``."""
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError as error:
        raise BenchError(f"Serf does not answer at 127.0.0.1:{port}: {error}") from None
    async with stream:
        try:
            rpc = SerfRpc(port, stream)
            await rpc.shake_hands()
            yield rpc
        except trio.BrokenResourceError as error:
            raise BenchError(f"Serf at 127.0.0.1:{port} broke off its answer: {error}") from None
