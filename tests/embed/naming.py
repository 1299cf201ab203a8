"""gRPC servers that answer with their names, for channels that call them with real connections."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import grpc

#: The service that the servers have, with a method of each kind.
SERVICE = "test.Names"


@attrs.define(eq=False)
class NamingServer:
    """One server, how it answers, and what it was asked."""

    name: str
    server: Any
    port: int
    code: grpc.StatusCode | None = None  # of every answer; None: good ones
    seconds: float = 0.0  # until an answer begins
    asked: list[dict[str, str]] = attrs.field(factory=list)  # the metadata of each call, and its authority

    def answer(self, context: grpc.ServicerContext) -> bytes:
        """The name. Aborts the call if that was said."""
        self.asked.append(dict(context.invocation_metadata()))
        until = time.monotonic() + self.seconds
        while time.monotonic() < until and context.is_active():
            time.sleep(0.01)
        if self.code is not None:
            context.abort(self.code, "as it was told to")
        return self.name.encode()

    def stop(self) -> None:
        """Close the listener and all connections, as the end of its process does."""
        self.server.stop(None).wait()


@contextmanager
def naming(name: str, *, certificate: tuple[Path, Path] | None = None, port: int = 0) -> Iterator[NamingServer]:
    """A server on a port of loopback, with TLS if there is a certificate."""
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    if certificate is None:
        port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        chain, key = (each.read_bytes() for each in certificate)
        port = server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, chain)]))
    found = NamingServer(name, server, port)

    def one(_: bytes, context: grpc.ServicerContext) -> bytes:
        return found.answer(context)

    def many(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield found.answer(context)

    def joined(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"+".join(requests) + b"=" + found.answer(context)

    def each(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for request in requests:
            yield request + b"=" + found.answer(context)

    methods = {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "Joined": grpc.stream_unary_rpc_method_handler(joined),
        "Each": grpc.stream_stream_rpc_method_handler(each),
    }
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, methods)])
    server.start()
    try:
        yield found
    finally:
        found.stop()
