"""Connections to instances that fail for want of descriptors, ports or addresses of this host."""

from __future__ import annotations

import errno
import socket

import pytest
import trio

from gossipreg.frontends.proxy.backend import key_of
from gossipreg.frontends.proxy.connecting import PortsExhausted, connected
from gossipreg.frontends.proxy.listeners import OwnAddresses, accept_now
from gossipreg.model import Address
from tests.frontends.proxy.conftest import Stage, call
from tests.frontends.proxy.making import instance


async def call_without_trio(address: Address) -> str:
    """All that is said to a caller whose sockets are not trio's."""

    def ask() -> str:
        with socket.create_connection(address) as caller:
            caller.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: caller.recv(100), b"")).decode()

    return await trio.to_thread.run_sync(ask)


async def test_it_outlives_a_lack_of_descriptors(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    short_at = set[int]()

    def accept_or_fail(listener: trio.socket.SocketType) -> trio.socket.SocketType | None:
        port = listener.getsockname()[1]
        if port in short_at:
            short_at.remove(port)
            raise OSError(errno.EMFILE, "Too many open files")
        return accept_now(listener)

    monkeypatch.setattr("gossipreg.frontends.proxy.proxy.accept_now", accept_or_fail)
    proxy, address = await stage.proxy(await stage.named("a"))
    short_at.add(address.port)
    assert [await call(address), await call(address)] == ["a", "a"]
    assert proxy.counters["exhausted"] == 1


async def test_a_lack_of_descriptors_is_not_the_instances_fault(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    a = await stage.named("a")
    proxy, address = await stage.proxy(a)

    async def no_more(*_: object) -> object:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("gossipreg.frontends.proxy.upstream.connected", no_more)
    assert await call(address) == ""
    assert (proxy.counters["exhausted"], proxy.counters["not_connected"]) == (3, 1)
    assert not proxy.upstreams["orders"].balancer.backends[key_of(a)].is_resting(trio.current_time())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_descriptors_that_run_out_while_it_connects_are_recognised_for_names_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    a = await stage.named("a", host=host)
    proxy, address = await stage.proxy(a)
    monkeypatch.setattr("gossipreg.frontends.proxy.upstream.limits.EXHAUSTED_SECONDS", 0.0)

    def exhausted(*_: object) -> trio.socket.SocketType:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(trio.socket, "socket", exhausted)
        patch.setattr("trio._highlevel_open_tcp_stream.socket", exhausted)
        assert await call_without_trio(address) == ""
    assert (proxy.counters["exhausted"], proxy.counters["connects_failed"]) == (3, 0)
    assert not proxy.upstreams["orders"].balancer.backends[key_of(a)].is_resting(trio.current_time())


async def test_a_resolver_that_lacks_descriptors_is_not_the_instances_fault(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unresolved(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_SYSTEM, "System error")

    def exhausted(*_: object, **__: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(trio.socket, "getaddrinfo", unresolved)
    with pytest.raises(socket.gaierror):
        await connected(Address("db.example", 80), OwnAddresses())
    monkeypatch.setattr("gossipreg.frontends.proxy.connecting.socket.socket", exhausted)
    with pytest.raises(OSError, match="Too many open files") as raised:
        await connected(Address("db.example", 80), OwnAddresses())
    assert raised.value.errno == errno.EMFILE


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_an_instance_to_which_all_ports_are_in_use_is_not_at_fault_and_another_is_called(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    full, good = instance("full", host=host, port=1, weight=1000), await stage.named("good")
    proxy, address = await stage.proxy(full, good)
    refuse_to_connect(monkeypatch, port=1)
    assert await call_without_trio(address) == "good"
    assert (proxy.counters["exhausted"], proxy.counters["connects_failed"]) == (1, 0)
    assert not proxy.upstreams["orders"].balancer.backends[key_of(full)].is_resting(trio.current_time())


async def test_that_this_host_has_no_address_for_an_instance_is_no_lack_of_ports(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refuse_to_connect(monkeypatch, port=80)
    for host, lacks_ports in (("127.0.0.1", True), ("255.255.255.255", False)):  # no datagram may go to the latter
        with pytest.raises(OSError, match=r"ports|assign") as raised:
            await connected(Address(host, 80), OwnAddresses())
        assert isinstance(raised.value, PortsExhausted) is lacks_ports


def refuse_to_connect(monkeypatch: pytest.MonkeyPatch, *, port: int) -> None:
    """Have the kernel say of every connection to that port that it has no address or port for it."""
    with trio.socket.socket() as any_socket:
        kind = type(any_socket)
    real = kind.connect

    async def connect(self: trio.socket.SocketType, to: tuple[str, int]) -> None:
        if to[1] == port:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        await real(self, to)

    monkeypatch.setattr(kind, "connect", connect)


@pytest.mark.parametrize("number", [errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES])
async def test_whatever_a_connect_fails_with_another_instance_is_tried_and_this_one_rests(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    bad, good = instance("bad", port=1, weight=1000), await stage.named("good")

    async def fail_for_bad(to: Address, own: OwnAddresses) -> trio.socket.SocketType:
        if to.port == 1:
            raise OSError(number, "it cannot be reached")
        return await connected(to, own)

    monkeypatch.setattr("gossipreg.frontends.proxy.upstream.connected", fail_for_bad)
    proxy, address = await stage.proxy(bad, good)
    assert [await call(address) for _ in range(5)] == ["good"] * 5
    assert proxy.counters["connects_failed"] == 1
    assert proxy.upstreams["orders"].balancer.backends[key_of(bad)].is_resting(trio.current_time())
