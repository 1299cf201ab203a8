"""HTTP over an agent's socket file, with the standard library only: no code is shared with the product."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs
import trio

#: Maximum size of an answer (bytes): far more than any view of a chaos run.
_ANSWER_MAX: Final = 16 * 1024 * 1024


class NotSent(Exception):
    """No connection was made, so the agent cannot have received the request."""


class NoAnswer(Exception):
    """The agent may or may not have received and executed the request."""


@attrs.frozen
class Answer:
    """A status, headers in lower case, and the JSON document; None without a body."""

    status: int
    headers: Mapping[str, str]
    document: Any


async def ask(socket: str, method: str, target: str, document: Any = None, *, patience: float) -> Answer:
    """Send a request to the agent at the socket file and read its answer.

    ``patience``: time limit in seconds. Raises ``NotSent`` if nothing was sent, and ``NoAnswer`` if the outcome is
    unknown.
    """
    body = b"" if document is None else json.dumps(document).encode()
    length = f"Content-Length: {len(body)}\r\n" if method != "GET" else ""
    request = f"{method} {target} HTTP/1.1\r\nHost: chaos\r\nConnection: close\r\n{length}\r\n".encode() + body
    with trio.move_on_after(patience):
        try:
            stream = await trio.open_unix_socket(socket)
        except OSError as error:
            raise NotSent(str(error)) from None
        try:
            async with stream:
                await stream.send_all(request)
                return _parsed(await _everything(stream))
        except (OSError, trio.BrokenResourceError, ValueError) as error:
            raise NoAnswer(str(error)) from None
    raise NoAnswer(f"no answer within {patience:g} s")


async def _everything(stream: trio.SocketStream) -> bytes:
    parts, length = [], 0
    async for part in stream:
        parts.append(part)
        length += len(part)
        if length > _ANSWER_MAX:
            raise ValueError(f"the answer is longer than {_ANSWER_MAX} bytes")
    return b"".join(parts)


def _parsed(raw: bytes) -> Answer:
    head, separator, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not separator or not first.startswith("HTTP/1.1 "):
        raise ValueError(f"not an HTTP answer: {raw[:80]!r}")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(body)
    elif len(body) != int(headers.get("content-length", "0")):
        raise ValueError("the answer was cut off")
    return Answer(int(first.split()[1]), headers, json.loads(body) if body else None)


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while True:
        size, separator, body = body.partition(b"\r\n")
        if not separator:
            raise ValueError("the answer was cut off")
        length = int(size, 16)
        if length == 0:
            return whole
        whole, body = whole + body[:length], body[length + 2 :]
