from __future__ import annotations

import errno
import os
import socket
from functools import partial

import httpx
import pytest
import trio

from gossipreg.errors import BindError
from gossipreg.frontends.http import serve_http
from gossipreg.frontends.serving import limits
from gossipreg.frontends.serving.listening import explain
from gossipreg.model import Address
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import acceptor, answers, ask, dial, get, read_all, read_until


async def test_port_0_takes_a_free_port_and_says_which(address: Address, client: httpx.AsyncClient) -> None:
    assert address.host == "127.0.0.1"
    assert address.port > 0
    assert (await client.get("/healthz")).status_code == 200


async def test_it_listens_on_ipv6(fake: FakeNode, nursery: trio.Nursery) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    bound = await nursery.start(partial(serve_http, fake, Address("::1", 0), leave=lambda: None))
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://{bound}/healthz")).status_code == 200


async def test_an_address_in_use_is_named_with_the_remedy(fake: FakeNode, address: Address) -> None:
    with pytest.raises(BindError) as refused:
        await serve_http(fake, address, leave=lambda: None)
    assert str(refused.value) == (
        f"cannot listen on {address} for HTTP: address already in use: stop the other program or pass --http HOST:PORT"
    )


@pytest.mark.parametrize(
    ("host", "reason"),
    [("192.0.2.1", "not an address of this machine"), ("no-such-host.invalid", "no such host name")],
)
async def test_an_address_that_is_not_ours_is_named(fake: FakeNode, host: str, reason: str) -> None:
    with pytest.raises(BindError, match=f"cannot listen on {host}:8500 for HTTP: {reason}: pass --http HOST:PORT"):
        await serve_http(fake, Address(host, 8500), leave=lambda: None)


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.EACCES, "permission denied"), (errno.EMFILE, "too many open files")],
)
def test_any_other_reason_is_given_with_a_remedy(number: int, reason: str) -> None:
    said, remedy = explain(OSError(number, os.strerror(number)))
    assert said == reason
    assert remedy.startswith("pass --http HOST:PORT")


async def test_a_connection_too_many_is_told_so_and_room_is_made_again(
    fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 1)
    monkeypatch.setattr(limits, "REFUSALS_MAX", 1)
    listener = acceptor(fake)
    async with trio.open_nursery() as nursery:
        first = dial(listener, nursery)
        await first.send_all(get("/api/v1/services/orders?index=1"))  # it is busy: it waits
        await trio.testing.wait_all_tasks_blocked()
        second = dial(listener, nursery)
        await trio.testing.wait_all_tasks_blocked()
        third = dial(listener, nursery)
        [refusal] = answers(await read_all(second))
        assert refusal.status == 503
        assert refusal.error == "1 connections are open, which is the limit: close one or try later"
        assert await read_all(third) == b""
        await second.aclose()
        await fake.register("orders", port=80)
        await read_until(first, b"]}")
        await first.aclose()
        await trio.testing.wait_all_tasks_blocked()
        [answer] = await ask(dial(listener, nursery), get("/healthz"))
        assert answer.status == 200


async def test_idle_connections_keep_no_client_out(fake: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 2)
    listener = acceptor(fake)
    async with trio.open_nursery() as nursery:
        silent = dial(listener, nursery)
        await trio.testing.wait_all_tasks_blocked()
        kept = dial(listener, nursery)
        await trio.testing.wait_all_tasks_blocked()
        half = dial(listener, nursery)
        await trio.testing.wait_all_tasks_blocked()
        assert await read_all(silent) == b""  # nothing was ever asked there
        await kept.send_all(get("/healthz"))
        await trio.testing.wait_all_tasks_blocked()
        await half.send_all(get("/healthz")[:10])
        await trio.testing.wait_all_tasks_blocked()
        newcomer = dial(listener, nursery)
        [answer] = await ask(newcomer, get("/healthz"))
        assert answer.status == 200
        assert await read_all(half) == b""
        assert [each.status for each in await ask(kept, get("/healthz"))] == [200, 200]


async def test_it_stops_when_it_is_cancelled_whatever_is_open(fake: FakeNode) -> None:
    async with trio.open_nursery() as nursery:
        address = await nursery.start(partial(serve_http, fake, Address("127.0.0.1", 0), leave=lambda: None))
        idle = await trio.open_tcp_stream(*address)
        watching = await trio.open_tcp_stream(*address)
        await watching.send_all(get("/api/v1/events"))
        await watching.receive_some()
        nursery.cancel_scope.cancel()
    assert fake.listeners == 0
    await idle.aclose()
    await watching.aclose()
