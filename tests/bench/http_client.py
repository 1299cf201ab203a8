"""A client of an agent's HTTP API, and a reader of its stream of events."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
import h11
import trio

from tests.bench.ears import Lines
from tests.bench.processes import BenchError

_READ_BYTES = 65_536


@attrs.define(eq=False)
class HttpClient:
    """One connection to one agent."""

    port: int
    stream: trio.SocketStream
    _protocol: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    async def ask(self, method: str, target: str, body: Any = None) -> Any:
        """The JSON document that is the answer. Raises ``BenchError`` for a refusal."""
        content = b"" if body is None else json.dumps(body).encode()
        await self.stream.send_all(_request(self._protocol, self.port, method, target, content))
        text = await self._answer(f"{method} {target}")
        self._protocol.start_next_cycle()
        return json.loads(text)

    async def ask_all(
        self, method: str, target: str, bodies: Sequence[Any], on_answer: Callable[[int], None] = lambda _: None
    ) -> float:
        """Ask so often without waiting for answers in between; returns the moment of the first byte (perf_counter).

        ``on_answer`` is told how many answers there are. Nothing can be asked afterwards. Raises ``BenchError`` for
        the first refusal, in a group of exceptions.
        """
        protocols = [h11.Connection(h11.CLIENT) for _ in bodies]
        texts = [json.dumps(body).encode() for body in bodies]
        asked = b"".join(
            _request(protocol, self.port, method, target, text) for protocol, text in zip(protocols, texts, strict=True)
        )
        began = time.perf_counter()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.stream.send_all, asked)
                rest = b""
                for number, self._protocol in enumerate(protocols, 1):
                    if rest:  # nothing would mean that the connection has ended
                        self._protocol.receive_data(rest)
                    await self._answer(f"{method} {target}")
                    rest, _ = self._protocol.trailing_data
                    on_answer(number)
        except* (trio.BrokenResourceError, h11.RemoteProtocolError) as broken:
            raise BenchError(f"the agent at 127.0.0.1:{self.port} broke off its answers: {broken}") from None
        return began

    async def _answer(self, asked: str) -> bytes:
        """The body of the next answer. Raises ``BenchError`` for a refusal."""
        status, parts = 0, []
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                parts.append(bytes(event.data))
        text = b"".join(parts)
        if not 200 <= status < 300:
            raise BenchError(f"the agent at 127.0.0.1:{self.port} answered {asked} with {status}: {text!r}")
        return text

    async def _next(self) -> h11.Event:
        while (event := self._protocol.next_event()) is h11.NEED_DATA:
            self._protocol.receive_data(await self.stream.receive_some(_READ_BYTES))
        if isinstance(event, h11.Event):
            return event
        raise BenchError(f"the agent at 127.0.0.1:{self.port} broke off its answer")


def _request(protocol: h11.Connection, port: int, method: str, target: str, content: bytes = b"") -> bytes:
    headers = [("Host", f"127.0.0.1:{port}"), ("Content-Length", str(len(content)))]
    events: list[h11.Event] = [h11.Request(method=method, target=target, headers=headers), h11.EndOfMessage()]
    if content:
        events.insert(1, h11.Data(data=content))
    return b"".join(protocol.send(event) or b"" for event in events)


@asynccontextmanager
async def connect(port: int) -> AsyncIterator[HttpClient]:
    """Connect to the agent that answers HTTP at this port of 127.0.0.1. Raises ``BenchError``."""
    try:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
    except OSError as error:
        raise BenchError(f"no answer at 127.0.0.1:{port}: {error}") from None
    async with stream:
        try:
            yield HttpClient(port, stream)
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise BenchError(f"the agent at 127.0.0.1:{port} broke off its answer: {error}") from None


@attrs.define(eq=False)
class EventStream:
    """An agent's stream of events, read by `Ears`. ``on_event`` takes the moment, the name and the data."""

    on_event: Callable[[float, str, Any], None]
    socket: socket.socket
    _protocol: h11.Connection
    _lines: Lines = attrs.field(factory=Lines)
    _name: str = ""

    @classmethod
    def open(cls, port: int, on_event: Callable[[float, str, Any], None]) -> EventStream:
        """Ask for the events of the agent at this port."""
        protocol = h11.Connection(h11.CLIENT)
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(_request(protocol, port, "GET", "/api/v1/events"))
        return cls(on_event, connection, protocol)

    def hear(self, at: float, said: bytes) -> None:
        """What came over the connection."""
        if not said:
            return
        self._protocol.receive_data(said)
        while (event := self._protocol.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
            if isinstance(event, h11.Data):
                for name, data in self._events(bytes(event.data)):
                    self.on_event(at, name, data)
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return

    def _events(self, said: bytes) -> Iterator[tuple[str, Any]]:
        for line in self._lines.feed(said):
            field, _, value = line.partition(b": ")
            if field == b"event":
                self._name = value.decode()
            elif field == b"data":
                yield self._name, json.loads(value)
