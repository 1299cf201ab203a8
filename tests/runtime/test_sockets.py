"""A node binds one port for both protocols, only where it is safe; else the error names the remedy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, repeat

import pytest

from gossipreg.config import Config
from gossipreg.errors import BindError, ConfigError, InsecureError
from gossipreg.model import Address
from gossipreg.runtime import sockets as module
from gossipreg.runtime.sockets import check_safety, open_sockets, resolve_bind

ANY_PORT = Address("127.0.0.1", 0)


@contextmanager
def taken(kind: socket.SocketKind) -> Iterator[Address]:
    """An address whose port another socket holds for one protocol."""
    with socket.socket(type=kind) as held:
        held.bind(ANY_PORT)
        if kind is socket.SOCK_STREAM:
            held.listen()
        yield Address(*held.getsockname())


def without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every name unknown, without a query."""
    numeric = partial(socket.getaddrinfo, flags=socket.AI_NUMERICHOST)
    monkeypatch.setattr(socket, "getaddrinfo", numeric)


def test_both_protocols_get_the_same_free_port() -> None:
    with closing(open_sockets(ANY_PORT, None)) as pair:
        assert pair.udp.getsockname() == pair.tcp.getsockname() == tuple(pair.address)
        assert pair.address.port > 0
        assert not pair.udp.getblocking()
        assert not pair.tcp.getblocking()


def test_the_port_is_free_again_after_closing() -> None:
    with closing(open_sockets(ANY_PORT, None)) as first:
        address = first.address
    with closing(open_sockets(address, None)) as second:
        assert second.address == address


def test_another_port_is_drawn_when_the_first_is_free_for_one_protocol_only(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = chain([True, True], repeat(False))
    bound = module._bound

    def bound_unless_refused(address: Address, kind: socket.SocketKind) -> socket.socket:
        if kind is socket.SOCK_STREAM and next(refusals):
            raise BindError("taken")
        return bound(address, kind)

    monkeypatch.setattr(module, "_bound", bound_unless_refused)
    with closing(open_sockets(ANY_PORT, None)) as pair:
        assert pair.address.port > 0


@pytest.mark.parametrize(("kind", "protocol"), [(socket.SOCK_DGRAM, "UDP"), (socket.SOCK_STREAM, "TCP")])
def test_an_address_that_is_taken_is_named_with_the_protocol_and_the_remedy(
    kind: socket.SocketKind, protocol: str
) -> None:
    with taken(kind) as address, pytest.raises(BindError) as refused:
        open_sockets(address, None)
    assert str(refused.value) == (
        f"cannot bind {address} for {protocol}: Address already in use: "
        "stop the other program, or pass another --bind HOST:PORT"
    )


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(BindError, match=r"pass --bind with an address of this machine$"):
        open_sockets(Address("192.0.2.1", 0), None)


# What others are told


def test_others_are_told_the_bound_address_unless_another_is_advertised() -> None:
    with closing(open_sockets(ANY_PORT, "192.0.2.7:1234")) as pair:
        assert pair.address == Address("192.0.2.7", 1234)
    with closing(open_sockets(ANY_PORT, "192.0.2.7")) as pair:
        assert pair.address == Address("192.0.2.7", pair.udp.getsockname()[1])
    with closing(open_sockets(ANY_PORT, "localhost:1")) as pair:
        assert pair.address.host in {"127.0.0.1", "::1"}, "names are resolved before they are told"


def test_bound_to_all_addresses_it_tells_the_one_that_leads_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "outgoing_host", {"0.0.0.0": "192.0.2.9"}.get)
    with closing(open_sockets(Address("0.0.0.0", 0), None)) as pair:
        assert pair.address == Address("192.0.2.9", pair.udp.getsockname()[1])


def test_bound_to_all_addresses_without_a_way_out_it_asks_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "outgoing_host", lambda _: None)
    with pytest.raises(ConfigError, match=r"pass --advertise HOST\[:PORT\]$"):
        open_sockets(Address("0.0.0.0", 0), None)


@pytest.mark.parametrize("host", ["a..b", "nowhere"])
def test_an_advertised_name_that_cannot_be_resolved_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_names(monkeypatch)
    with pytest.raises(ConfigError, match=f"^advertise: cannot resolve '{host}': "):
        open_sockets(ANY_PORT, host)


# Where it listens


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("127.0.0.1", Address("127.0.0.1", 7940)),
        ("[::1]:80", Address("::1", 80)),
        ("::", Address("::", 7940)),
    ],
)
def test_an_address_to_bind_may_be_without_a_port(text: str, address: Address) -> None:
    assert resolve_bind(text) == address


@pytest.mark.parametrize("host", ["a..b", "nowhere"])
def test_a_name_to_bind_that_cannot_be_resolved_is_named(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_names(monkeypatch)
    with pytest.raises(ConfigError, match=f"^bind: '{host}' is no address of this machine: "):
        resolve_bind(f"{host}:80")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1"])
def test_on_loopback_gossip_may_be_in_clear(host: str) -> None:
    check_safety(Address(host, 0), Config(), sealed=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_loopback_it_is_sealed_or_known_to_be_insecure(host: str) -> None:
    address = Address(host, 7940)
    check_safety(address, Config(), sealed=True)
    check_safety(address, Config(insecure=True), sealed=False)
    with pytest.raises(InsecureError) as refused:
        check_safety(address, Config(), sealed=False)
    assert str(refused.value) == (
        f"cannot bind {address} without a key: run `gossipreg keygen --out key` and pass --key-file key, "
        "or --insecure on a trusted network"
    )
