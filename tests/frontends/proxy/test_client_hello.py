"""The server name in a ClientHello is read as OpenSSL writes it, however the hello is cut."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossipreg.frontends.proxy.client_hello import UNRECOGNIZED_NAME, BadHello, HelloReader
from gossipreg.frontends.proxy.limits import HELLO_BYTES_MAX
from tests.frontends.proxy.hellos import cut, hello, made, names, record


def read(data: bytes, step: int | None = None) -> str | None:
    """The name in these bytes, which come ``step`` by ``step``."""
    reader = HelloReader()
    for at in range(0, len(data), step or len(data)):
        reader.receive(data[at : at + (step or len(data))])
    return reader.name


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", ["orders.example", "Orders.Example", "xn--bcher-kva.example", "localhost"])
def test_the_name_that_openssl_asks_for_is_read(name: str, version: ssl.TLSVersion) -> None:
    assert read(hello(name, version=version)) == name.lower()


def test_a_hello_without_a_name_has_none() -> None:
    assert read(hello(None)) == ""
    assert read(made()) == ""
    assert read(record(b"\1" + (41).to_bytes(3) + b"\3\3" + bytes(32) + b"\0\0\2\x13\1\1\0")) == "", "no extensions"


@given(st.integers(1, 600), st.integers(1, 600))
def test_how_it_is_cut_into_records_and_packets_makes_no_difference(size: int, step: int) -> None:
    assert read(cut(hello("orders.example"), size), step) == "orders.example"


def test_nothing_is_read_of_it_before_it_is_whole() -> None:
    data = hello("orders.example")
    for end in range(len(data)):
        assert read(data[:end] or b"", 100) is None if end else True
    reader = HelloReader()
    reader.receive(data)
    reader.receive(b"what comes after it")
    assert reader.name == "orders.example"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n", "it is no TLS handshake"),
        (b"\x16\x02\x01\x00\x05hello", "it is no TLS handshake"),
        (record(b"\1", kind=23), "it is no TLS handshake"),
        (record(b""), "a record of 0 bytes"),
        (b"\x16\3\1\xff\xff", "a record of 65535 bytes"),
        (made(kind=2), "does not begin with a ClientHello"),
        (record(b"\1\0\xff\xff"), "it is larger than"),
        (made((0, b"")), "it is cut off"),
        (made((0, b"\0\0")), "it is cut off"),
        (made(names(b"a", b"b")), "it goes on after its end"),
        (made(names(b"a"), names(b"b")), "two lists of server names"),
        (made(names(b"a", kind=1)), "its server name is none"),
        (made(names(b"")), "its server name is none"),
        (made(names(b"a b")), "its server name is none"),
        (made(names("bücher".encode())), "its server name is none"),
        (made(names(b"a" * 256)), "its server name is none"),
    ],
)
def test_what_is_no_hello_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(BadHello, match=why):
        read(data)


def test_a_hello_may_be_so_large_and_no_larger() -> None:
    with pytest.raises(BadHello, match=f"larger than {HELLO_BYTES_MAX} bytes"):
        read(record(b"\1\0\x3f\xff") + record(b"\0") * HELLO_BYTES_MAX)
    padding = HELLO_BYTES_MAX - len(made(names(b"a"), (21, b"")))
    assert read(made(names(b"a"), (21, bytes(padding)))) == "a"


def test_the_alert_is_one_that_openssl_understands() -> None:
    given, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = ssl.create_default_context().wrap_bio(given, sent, server_hostname="orders.example")
    with pytest.raises(ssl.SSLWantReadError):
        caller.do_handshake()
    given.write(UNRECOGNIZED_NAME)
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        caller.do_handshake()
