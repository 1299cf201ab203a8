"""One HTTP request to an agent from a trio task: one connection, one answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Final

import attrs
import h11
import trio

from gossipreg.model import Address

#: How long an agent may take to answer (seconds).
_PATIENCE: Final = 60.0

_READ_BYTES: Final = 65_536


class NoAnswer(Exception):
    """No process listens there, or the answer broke off."""


@attrs.frozen
class Answer:
    """A status code, a JSON document, None when there is none, and headers by their names in lower case."""

    status: int
    document: Any
    headers: Mapping[str, str] = attrs.field(factory=dict)


async def ask(http: str, method: str, path: str, body: object = None) -> Answer:
    """Ask the agent at ``http`` for ``/api/v1/path``. Raises ``NoAnswer``."""
    data = b"" if body is None else json.dumps(body).encode()
    with trio.move_on_after(_PATIENCE):
        async with await _connected(http) as stream:
            wire = _Wire(stream)
            await wire.request(method, path, data)
            head = await wire.next_event()
            assert isinstance(head, h11.Response), head
            received = b"".join([part async for part in wire.parts()])
        headers = {name.decode(): value.decode() for name, value in head.headers}
        return Answer(head.status_code, json.loads(received) if received else None, headers)
    raise NoAnswer(f"{http} did not answer {method} {path} within {_PATIENCE:g} s")


async def follow(http: str, path: str) -> AsyncIterator[tuple[str, Any]]:
    """Names and data of the server-sent events at ``/api/v1/path``, until the agent ends."""
    with suppress(NoAnswer):
        async with await _connected(http) as stream:
            wire = _Wire(stream)
            await wire.request("GET", path, b"")
            await wire.next_event()
            text = ""
            async for part in wire.parts():
                *events, text = (text + part.decode()).split("\n\n")
                for event in events:
                    fields = dict(line.split(": ", 1) for line in event.splitlines())
                    if "event" in fields:
                        yield fields["event"], json.loads(fields["data"])


async def _connected(http: str) -> trio.SocketStream:
    try:
        return await trio.open_tcp_stream(*Address.parse(http))
    except OSError as error:
        raise NoAnswer(f"{http}: {error}") from None


@attrs.define
class _Wire:
    """One HTTP/1.1 exchange on one connection."""

    stream: trio.SocketStream
    _http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.CLIENT))

    async def request(self, method: str, path: str, body: bytes) -> None:
        headers = [("Host", "localhost"), ("Connection", "close"), ("Content-Length", str(len(body)))]
        request = h11.Request(method=method, target=f"/api/v1/{path}", headers=headers)
        parts = (request, h11.Data(data=body), h11.EndOfMessage())
        try:
            await self.stream.send_all(b"".join(self._http.send(part) or b"" for part in parts))
        except trio.BrokenResourceError as error:
            raise NoAnswer(str(error)) from None

    async def next_event(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self.stream.receive_some(_READ_BYTES))
        except (trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            raise NoAnswer(f"the answer broke off: {error}") from None
        assert isinstance(event, h11.Event), event
        return event

    async def parts(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self.next_event(), h11.Data):
            yield bytes(event.data)
