"""Answers over a socket in clear: the plainest are read here, all others by the standard library."""

from __future__ import annotations

import http.client
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_server

import pytest

from gossipreg.address import Address
from gossipreg.cli import plain_http

PLAIN = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-A:  b \r\n\r\n{}"


@contextmanager
def server(answer: bytes) -> Iterator[tuple[Address, list[bytes]]]:
    """A server that answers one request with ``answer``, byte for byte, and closes; and what it was asked."""
    with create_server(("127.0.0.1", 0)) as listener:
        asked: list[bytes] = []

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Address(*listener.getsockname()), asked
        thread.join(60)


def ask(answer: bytes) -> plain_http.Answer:
    with server(answer) as (address, _):
        return plain_http.ask(address, "GET", "/x", headers={}, body=None, patience=60)


def test_a_request_is_sent_as_it_is_asked() -> None:
    with server(PLAIN) as (address, asked):
        plain_http.ask(address, "PUT", "/x?y=1", headers={"Authorization": "Bearer t"}, body=b"[1]", patience=60)
    head, _, body = asked[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "PUT /x?y=1 HTTP/1.1"
    assert {f"Host: {address}", "Content-Length: 3", "Connection: close", "Authorization: Bearer t"} <= {*lines}
    assert body == b"[1]"


def test_a_plain_answer_is_read_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "http.client", None)
    assert ask(PLAIN) == (200, {"content-length": "2", "x-a": "b"}, b"{}")
    assert ask(PLAIN + b"more").body == b"{}"


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, b"{}"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, 200, b"{}"),
        (b"HTTP/1.0 404 No\r\n\r\nuntil the end", 404, b"until the end"),
        (b"HTTP/1.1 204 Done\r\n\r\n", 204, b""),
        (b"HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
        (b"HTTP/1.1 200 OK\r\nX-A: b\r\nX-A: c\r\ncontent-length: 2\r\n\r\n{}", 200, b"{}"),
    ],
)
def test_any_other_form_is_read_by_the_library(answer: bytes, status: int, body: bytes) -> None:
    found = ask(answer)
    assert (found.status, found.body) == (status, body)


def test_what_is_cut_off_or_no_http_is_an_error() -> None:
    with pytest.raises(plain_http.CutOff, match="1 bytes read, 1 more"):
        ask(PLAIN[:-1])
    with pytest.raises(http.client.HTTPException):
        ask(b"SSH-2.0-x\r\n")
    with pytest.raises(http.client.RemoteDisconnected):
        ask(b"")
