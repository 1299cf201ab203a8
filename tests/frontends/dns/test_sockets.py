"""The DNS server gets UDP and TCP on one port, or says in one line why not."""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

import pytest
import trio

from gossipreg.errors import BindError
from gossipreg.frontends.dns import sockets
from gossipreg.frontends.dns.sockets import Sockets, open_sockets
from gossipreg.model import Address


async def close(opened: Sockets) -> None:
    opened.udp.close()
    await opened.tcp.aclose()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_port_0_takes_one_that_is_free_for_both(host: str) -> None:
    opened = await open_sockets(Address(host, 0))
    assert opened.udp.getsockname()[1] == opened.tcp.socket.getsockname()[1] == opened.address.port > 0
    await close(opened)


async def test_it_listens_on_ipv6() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    opened = await open_sockets(Address("::1", 0))
    assert opened.address.host == "::1"
    await close(opened)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
async def test_an_address_in_use_is_named_with_the_remedy(kind: socket.SocketKind) -> None:
    with socket.socket(type=kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            other.listen()
        address = Address(*other.getsockname())
        with pytest.raises(BindError) as refused:
            await open_sockets(address)
    assert str(refused.value) == (
        f"cannot listen on {address} for DNS: address already in use: "
        "stop the other program or pass --dns HOST:PORT, or --dns off to do without"
    )


async def test_a_port_that_is_free_for_udp_only_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[tuple[socket.SocketKind, int]] = []
    bound = sockets._bound

    def bind(family: int, kind: socket.SocketKind, host: str, port: int) -> socket.socket:
        tries.append((kind, port))
        if len(tries) == 2:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return bound(family, kind, host, 0)  # what else listens on this machine is not this test's business

    monkeypatch.setattr(sockets, "_bound", bind)
    await close(await open_sockets(Address("127.0.0.1", 0)))
    assert [kind for kind, _ in tries] == [socket.SOCK_DGRAM, socket.SOCK_STREAM] * 2
    assert [port > 0 for _, port in tries] == [False, True] * 2, "the stream's is to be that of the datagrams"


async def test_a_port_that_is_free_for_neither_is_not_looked_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[socket.SocketKind] = []
    bound = sockets._bound

    def bind(family: int, kind: socket.SocketKind, host: str, port: int) -> socket.socket:
        tries.append(kind)
        if kind is socket.SOCK_STREAM:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return bound(family, kind, host, 0)

    monkeypatch.setattr(sockets, "_bound", bind)
    with pytest.raises(BindError, match="address already in use"):
        await open_sockets(Address("127.0.0.1", 0))
    assert len(tries) == 2 * sockets._PORT_TRIES


class Resolver(trio.abc.HostnameResolver):
    """Knows no name: what a name server somewhere says, and how long it takes, is not these tests' business."""

    async def getaddrinfo(self, host: Any, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, f"no {host!r}")

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("192.0.2.1", "not an address of this machine"),
        ("no-such-host.invalid", "no such host name"),
        ("a..b", "no such host name"),
    ],
)
async def test_an_address_that_is_not_ours_is_named(host: str, reason: str) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver())  # for this run of trio only
    with pytest.raises(BindError, match=f"cannot listen on {host}:8600 for DNS: {reason}: pass --dns HOST:PORT"):
        await open_sockets(Address(host, 8600))


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.EACCES, "permission denied"), (errno.EMFILE, "too many open files")]
)
def test_any_other_reason_is_given_with_a_remedy(number: int, reason: str) -> None:
    said, remedy = sockets._explain(OSError(number, os.strerror(number)))
    assert said == reason
    assert remedy.startswith("pass --dns HOST:PORT")
