"""A mistake in one task of a frontend is counted, and the node and its other clients go on."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, NoReturn

import dns.message
import pytest
import trio

from gossipreg import Node, open_node
from gossipreg.frontends.dns import serve_dns
from gossipreg.frontends.dns import server as dns_server
from gossipreg.frontends.dns.directory import Directory
from gossipreg.frontends.dns.zone import Zone
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.http.event_encoder import EventEncoder
from gossipreg.frontends.serving.dispatcher import Dispatcher
from gossipreg.model import Address
from gossipreg.protocol.local_registry import LocalRegistry
from gossipreg.runtime import supervision
from tests.runtime.nodes import PATIENCE, config

Patch = pytest.MonkeyPatch


def fail(*_: Any, **__: Any) -> NoReturn:
    raise ZeroDivisionError("unforeseen")


async def fail_late(*_: Any, **__: Any) -> NoReturn:
    await trio.lowlevel.checkpoint()
    fail()


@pytest.fixture
async def node(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Node]:
    caplog.set_level(logging.CRITICAL)
    async with open_node(config("ann")) as node:
        await node.register("web", port=80, id="web-1")
        yield node


async def http(node: Node, nursery: trio.Nursery) -> Address:
    serve = partial(serve_http, node, Address("127.0.0.1", 0), leave=fail, counters=node.counters)
    return await nursery.start(serve)  # type: ignore[no-any-return]


async def dns_at(node: Node, nursery: trio.Nursery) -> Address:
    serve = partial(serve_dns, node, Address("127.0.0.1", 0), domains=("gossipreg",), counters=node.counters)
    return await nursery.start(serve)  # type: ignore[no-any-return]


async def asked(address: Address, target: str) -> bytes:
    """The first of what is answered to a GET."""
    with trio.fail_after(PATIENCE):
        async with await trio.open_tcp_stream(*address) as stream:
            head = f"GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n"
            await stream.send_all(head.encode())
            return bytes(await stream.receive_some())


async def resolved(address: Address) -> bool:
    """Whether a service's name is answered over UDP."""
    query = dns.message.make_query("web.service.gossipreg", "A")
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        await udp.connect(tuple(address))
        await udp.send(query.to_wire())
        with trio.move_on_after(0.2):
            return bool(dns.message.from_wire(await udp.recv(4096)).answer)
    return False


async def resolves(address: Address) -> None:
    with trio.fail_after(PATIENCE):
        while not await resolved(address):
            pass


@pytest.mark.parametrize(
    ("where", "method", "failing", "target", "status"),
    [
        (Dispatcher, "_reply", fail_late, "/api/v1/services", b"HTTP/1.1 500 "),
        (EventEncoder, "of", fail_late, "/api/v1/events", b"HTTP/1.1 500 "),
    ],
)
async def test_a_request_that_fails_is_counted(
    where: Any, method: str, failing: Any, target: str, status: bytes, node: Node, nursery: trio.Nursery
) -> None:
    address = await http(node, nursery)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(where, method, failing)
        assert (await asked(address, target)).startswith(status)
    assert node.counters["tasks_failed"] == 1
    assert (await asked(address, "/api/v1/services")).startswith(b"HTTP/1.1 200 ")


async def test_an_invariant_that_a_request_finds_broken_ends_the_node() -> None:
    def broken(*_: Any) -> NoReturn:
        raise AssertionError("an invariant")

    with pytest.RaisesGroup(pytest.RaisesExc(AssertionError, match="an invariant"), flatten_subgroups=True):
        async with trio.open_nursery() as nursery, open_node(config("ann")) as node:
            address = await http(node, nursery)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(LocalRegistry, "_publish", broken)
                async with await trio.open_tcp_stream(*address) as stream:
                    body = b'{"service":"web","port":80}'
                    head = f"PUT /api/v1/instances HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n"
                    await stream.send_all(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
                    with trio.fail_after(PATIENCE):
                        await trio.sleep_forever()


@pytest.mark.parametrize(
    ("where", "method"), [(Directory, "note"), (dns_server, "_drain"), (Zone, "reply")], ids=["events", "udp", "answer"]
)
async def test_dns_goes_on_after_a_mistake(
    where: Any, method: str, node: Node, nursery: trio.Nursery, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(supervision, "RETRY_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(where, method, fail)
        address = await dns_at(node, nursery)
        with trio.fail_after(PATIENCE):
            while not node.counters["tasks_failed"]:
                await resolved(address)
    await resolves(address)
    assert not node.is_closed
