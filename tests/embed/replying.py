"""HTTP servers in threads that answer with their names, for clients that call them with real connections."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Literal

import attrs


@attrs.define(eq=False)
class Reply:
    """One server, what it answers, and what it was asked."""

    name: str
    server: ThreadingHTTPServer
    status: int = 200
    #: Where an answer breaks off: in the body, or before it begins.
    breaks: Literal["", "body", "head"] = ""
    headers: dict[str, str] = attrs.field(factory=dict)  # of the answer
    seen: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)  # request line and headers, in lower case
    bodies: list[bytes] = attrs.field(factory=list)
    connections: list[socket.socket] = attrs.field(factory=list)
    lock: Lock = attrs.field(factory=Lock)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    def stop(self) -> None:
        """Close the listener and all connections, as the end of its process does."""
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            for each in self.connections:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept
    disable_nagle_algorithm = True
    reply: Reply

    def setup(self) -> None:
        super().setup()
        with self.reply.lock:
            self.reply.connections.append(self.connection)

    def answer(self) -> None:
        reply = self.reply
        body = self.body()
        with reply.lock:
            reply.seen.append((f"{self.command} {self.path}", {k.lower(): v for k, v in self.headers.items()}))
            reply.bodies.append(body)
        if reply.breaks == "head":
            self.close_connection = True
            return
        content = reply.name.encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) + (9 if reply.breaks == "body" else 0)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
        self.close_connection = self.close_connection or bool(reply.breaks)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def replying(
    name: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[Reply]:
    """A server on a free port of loopback, with TLS if there is a certificate."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    reply = Reply(name, server, status, headers=dict(headers or {}))
    handler.reply = reply  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield reply
    finally:
        with suppress(OSError):
            reply.stop()
        thread.join()
