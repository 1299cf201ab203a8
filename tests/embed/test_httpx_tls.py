"""Services that are called over TLS: the name in the certificate is checked for each of them, on every connection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import AsyncTransport, Transport
from tests.certificates import certificate
from tests.embed.offering import FakeRegistry, offer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[int, ssl.SSLContext]]:
    """The port of a server that has the certificate of ``shop``, and what trusts it."""
    files = certificate("shop", tmp_path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1], ssl.create_default_context(cafile=str(files[0]))
    server.shutdown()
    thread.join()
    server.server_close()


def chooser(port: int) -> Chooser:
    """Two services, both of which say that they are at one address."""
    at = {"host": "127.0.0.1", "port": port, "meta": {"scheme": "https"}}
    return Chooser(FakeRegistry((offer("a", service="shop", **at), offer("b", service="bank", **at))))


def test_a_kept_connection_answers_for_no_other_service(holder: tuple[int, ssl.SSLContext]) -> None:
    port, trust = holder
    with httpx.Client(transport=Transport(chooser(port), transport=lambda: httpx.HTTPTransport(verify=trust))) as web:
        assert web.get("http://shop/").text == "ok"
        with pytest.raises(httpx.ConnectError, match="certificate is not valid for 'bank'"):
            web.get("http://bank/")


async def test_a_kept_connection_answers_for_no_other_service_with_async(holder: tuple[int, ssl.SSLContext]) -> None:
    port, trust = holder
    transport = AsyncTransport(chooser(port), transport=lambda: httpx.AsyncHTTPTransport(verify=trust))
    async with httpx.AsyncClient(transport=transport) as web:
        assert (await web.get("http://shop/")).text == "ok"
        with pytest.raises(httpx.ConnectError):
            await web.get("http://bank/")
