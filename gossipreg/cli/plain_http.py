"""One HTTP request over a socket in clear, without the standard library's client, which takes longer to import.

The request is HTTP/1.1 with ``Connection: close``. An answer in its plainest form, a status line and fields of one line
each with a ``Content-Length``, is read here. The bytes of any other are read by ``http.client``, which also finds the
error in one that is cut off or is not HTTP at all.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gossipreg.address import Address, SocketFile
from gossipreg.failures import reason_of

#: How much is read at once (bytes).
_READ_BYTES: Final = 65_536

#: The characters that a field's name has in the plainest form (RFC 9110 §5.1 allows some more).
_NAME_CHARACTERS: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")


class Answer(NamedTuple):
    """An answer: its status, its header with names in small letters, and all of its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CutOff(Exception):
    """The connection ended, or was silent for too long, within the body of an answer."""


def ask(
    address: Address | SocketFile,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None,
    patience: float,
) -> Answer:
    """Send one request and return the whole answer.

    ``target``: the path and query as they are sent. ``patience``: how long the agent may be silent (seconds). Raises
    ``OSError`` and ``http.client.HTTPException`` as that client does, and ``CutOff``.
    """
    host = str(address) if isinstance(address, Address) else "localhost"
    fields = {"Host": host, "Accept-Encoding": "identity", "Connection": "close"}
    if body is not None:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in {**fields, **headers}.items())]
    with _connect(address, patience) as connection:
        connection.sendall("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (body or b""))
        return _read(connection)


def _connect(address: Address | SocketFile, patience: float) -> socket.socket:
    if isinstance(address, Address):
        return socket.create_connection((address.host, address.port), patience)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(patience)
        connection.connect(str(address.path))
    except OSError:
        connection.close()
        raise
    return connection


def _read(connection: socket.socket) -> Answer:
    """The answer that comes over a connection."""
    received = bytearray()
    head: tuple[int, dict[str, str]] | None = None
    length, begun = -1, -1
    while True:
        if begun < 0:
            end = received.find(b"\r\n\r\n")
            if end >= 0:
                begun = end + 4
                head = _plain_head(bytes(received[:end]))
                length = begun + int(head[1]["content-length"]) if head is not None else -1
        if head is not None and len(received) >= length:
            return Answer(*head, bytes(received[begun:length]))
        try:
            more = connection.recv(_READ_BYTES)
        except OSError as error:
            if begun < 0:
                raise
            raise CutOff(reason_of(error)) from None
        if not more:
            return _read_by_library(bytes(received))
        received += more


def _plain_head(head: bytes) -> tuple[int, dict[str, str]] | None:
    """The status and the header of an answer in the plainest form; None for any other."""
    first, *lines = head.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    status, _, _ = rest.partition(b" ")
    if version != b"HTTP/1.1" or len(status) != 3 or not status.isdigit() or status[:1] not in b"2345":
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        key = name.lower().decode("latin-1")
        if not (name and colon and _NAME_CHARACTERS.issuperset(name) and value.isascii()) or key in headers:
            return None
        text = value.decode("ascii").strip(" \t")
        if not text.isprintable():
            return None
        headers[key] = text
    is_plain = headers.get("content-length", "").isdecimal() and "transfer-encoding" not in headers
    return (int(status), headers) if is_plain else None


class _Received:
    """A socket that has nothing but bytes that were received, as ``http.client`` reads from one."""

    def __init__(self, received: bytes) -> None:
        self._received = received

    def makefile(self, *_: Any, **__: Any) -> Any:
        from io import BytesIO

        return BytesIO(self._received)


def _read_by_library(received: bytes) -> Answer:
    """The answer in all of what a connection brought. Raises ``http.client.HTTPException`` and ``CutOff``."""
    from http.client import HTTPException, HTTPResponse

    response = HTTPResponse(_Received(received))  # type: ignore[arg-type]  # it asks a socket for its file only
    response.begin()
    try:
        body = response.read()
    except HTTPException as error:
        raise CutOff(reason_of(error)) from None
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
