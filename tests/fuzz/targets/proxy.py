"""Targets of the balancer: the PROXY header that it writes and reads, and the TLS ClientHello that it reads."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from gossipreg.frontends.proxy.client_hello import BadHello, HelloReader
from gossipreg.frontends.proxy.header import BadHeader, header, read_header
from gossipreg.frontends.proxy.limits import HELLO_BYTES_MAX
from gossipreg.model import Address
from tests.frontends.proxy.hellos import cut, hello, made, names
from tests.fuzz.target import Target, check_error_text, outcome

_V2: Final = struct.Struct("!12sBBH")


def _proxy_header(data: bytes) -> str:
    """Version, family, two addresses, two ports: the header contains exactly these."""
    choice, data = (data[:1] or b"\0")[0], data[1:].ljust(36, b"\0")
    size, kind = (16, IPv6Address) if choice & 1 else (4, IPv4Address)
    source, destination = kind(data[:size]), kind(data[size : 2 * size])
    ports = struct.unpack("!HH", data[2 * size : 2 * size + 4])
    version = "v2" if choice & 2 else "v1"
    written = header(version, Address(str(source), ports[0]), Address(str(destination), ports[1]))
    assert _read(written) == (str(source), str(destination), *ports)
    return f"{version} {size}"


def _read(data: bytes) -> tuple[str, str, int, int]:
    """Parse the header like a server, which reads exactly one header."""
    if data.startswith(b"PROXY "):
        assert data.endswith(b"\r\n")
        assert data.count(b"\n") == 1
        assert len(data) <= 107  # the most that version 1 may have
        _, family, source, destination, *ports = data.decode("ascii").split()
        assert family == f"TCP{ip_address(source).version}"
        return source, destination, int(ports[0]), int(ports[1])
    signature, command, family, length = _V2.unpack_from(data)
    assert signature == b"\r\n\r\n\0\r\nQUIT\n"
    assert command == 0x21
    assert len(data) == _V2.size + length
    size = {0x11: 4, 0x21: 16}[family]
    body = data[_V2.size :]
    first, second = struct.unpack("!HH", body[2 * size :])
    return str(ip_address(body[:size])), str(ip_address(body[size : 2 * size])), first, second


def _seeds() -> Iterator[bytes]:
    for choice in range(4):
        yield bytes((choice,)) + bytes(range(36))


def _header_in(data: bytes) -> str:
    """A header that is read is read at its last byte and not before, and its addresses can be passed on."""
    try:
        found = read_header(data)
    except BadHeader as error:
        check_error_text(error)
        return outcome(error)
    if found is None:
        return "more"
    assert 0 < found.size <= len(data)
    assert all(read_header(data[:end]) is None for end in range(min(found.size, 64)))
    assert read_header(data[: found.size - 1]) is None
    assert read_header(data[: found.size]) == found
    if found.caller is None:
        return "none"
    assert found.called is not None
    for version in ("v1", "v2"):
        again = read_header(header(version, found.caller, found.called))
        assert again is not None
        assert (again.caller, again.called) == (found.caller, found.called)
    return f"{data[:5] == b'PROXY'} {':' in found.caller.host}"


def _headers() -> Iterator[bytes]:
    for version in ("v1", "v2"):
        yield header(version, Address("192.0.2.1", 1), Address("192.0.2.2", 443)) + b"GET /"
        yield header(version, Address("2001:db8::1", 65_535), Address("::1", 0))
        yield header(version, Address("::ffff:192.0.2.1", 1), Address("::ffff:192.0.2.2", 2))
    yield b"PROXY UNKNOWN\r\n"
    yield b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
    yield b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8" + bytes(216)


def _client_hello(data: bytes) -> str:
    """However the bytes are cut, the same name is found in them, and the one that OpenSSL finds if it finds any."""
    whole, bytewise = _server_name(data, len(data) or 1), _server_name(data, 1 + len(data) % 7)
    assert whole == bytewise
    named = _openssl_name(data) if len(data) < HELLO_BYTES_MAX else None
    if named is not None and isinstance(whole, str):
        assert whole == named.lower().removesuffix(".")
    return f"{type(whole).__name__} {'' if isinstance(whole, str) and not whole else 'named'}"


def _server_name(data: bytes, step: int) -> str | type[BadHello] | None:
    reader = HelloReader()
    try:
        for at in range(0, len(data), step):
            reader.receive(data[at : at + step])
    except BadHello as error:
        check_error_text(error)
        return BadHello
    return reader.name


_found: Final[list[str]] = []


@cache
def _server() -> ssl.SSLContext:
    def take(_: object, name: str | None, __: object) -> int:
        _found.append(name or "")
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = take
    return context


def _openssl_name(data: bytes) -> str | None:
    """The name that OpenSSL finds, "" for none; None where it does not come so far as to look for one."""
    given = ssl.MemoryBIO()
    given.write(data)
    _found.clear()
    with suppress(ssl.SSLError):
        _server().wrap_bio(given, ssl.MemoryBIO(), server_side=True).do_handshake()
    return _found[0] if _found else None


def _hellos() -> Iterator[bytes]:
    yield hello("orders.example")
    yield hello("orders.example", version=ssl.TLSVersion.TLSv1_2)
    yield hello(None)
    yield cut(hello("a.example"), 60)
    yield made()
    yield made(names(b"a"), (16, b"\0\3\2h2"))
    yield b"GET / HTTP/1.1\r\n\r\n"


TARGETS: Final = (
    Target("proxy-header", "a server reads the addresses that were written", _proxy_header, _seeds, bytes_max=64),
    Target(
        "proxy-header-in", "a header is read whole or not, and can be passed on", _header_in, _headers, bytes_max=256
    ),
    Target(
        "client-hello",
        "the server name is the one that OpenSSL finds, however the hello is cut",
        _client_hello,
        _hellos,
        words=(b"\x16\3\1", b"\0\0\0\6\0\4\0\0\1a", b"example"),
        cost=4,
    ),
)
