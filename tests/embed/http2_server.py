"""An HTTP/2 server over TLS, in a thread: it answers each request with what it saw."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock, Thread

import attrs
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded


@attrs.define
class Http2Server:
    """A server named ``name``; it refuses each request by resetting its stream while ``is_resetting``."""

    name: str
    context: ssl.SSLContext
    listener: socket.socket
    is_resetting: bool = False
    connections: int = 0
    _open: list[socket.socket] = attrs.field(factory=list)
    _lock: Lock = attrs.field(factory=Lock)

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    def serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
            Thread(target=self._converse, args=(plain,), daemon=True).start()

    def stop(self) -> None:
        """Close the listener and all connections, as the end of its process does."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self._lock:
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _converse(self, plain: socket.socket) -> None:
        with suppress(OSError), self.context.wrap_socket(plain, server_side=True) as stream:
            with self._lock:
                self._open.append(stream)
            wire = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
            wire.initiate_connection()
            stream.sendall(wire.data_to_send())
            requests: dict[int, dict[str, str]] = {}
            while data := stream.recv(65_536):
                for event in wire.receive_data(data):
                    match event:
                        case RequestReceived(stream_id=int() as id_, headers=headers):
                            requests[id_] = {str(name): str(value) for name, value in headers or ()}
                        case StreamEnded(stream_id=int() as id_) if self.is_resetting:
                            wire.reset_stream(id_)
                        case StreamEnded(stream_id=int() as id_):
                            body = json.dumps({"server": self.name, "headers": requests.pop(id_)}).encode()
                            wire.send_headers(id_, [(":status", "200"), ("content-length", str(len(body)))])
                            wire.send_data(id_, body, end_stream=True)
                stream.sendall(wire.data_to_send())


@contextmanager
def http2_server(name: str, certificate: tuple[Path, Path]) -> Iterator[Http2Server]:
    """A server on a free port of loopback, with that certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2"])
    server = Http2Server(name, context, socket.create_server(("127.0.0.1", 0)))
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        with suppress(OSError):
            server.stop()
        thread.join()
