"""Targets of checks: their definitions, and the answers of checked services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import h11
import trio
import trio.testing
from h2.exceptions import ProtocolError

from gossipreg import limits
from gossipreg.check import Check, CheckKind, read_check, url_host
from gossipreg.errors import InvalidInstance
from gossipreg.model import Address
from gossipreg.runtime.checks.grpc import _call, _finding
from gossipreg.runtime.checks.http import _ask
from tests.fuzz.target import Target, check_error_text, outcome

# Targets of checks


def _checks(data: bytes) -> str:
    """First byte: a URL, an address for TCP or gRPC, or a complete check in JSON."""
    kind, data = data[:1], data[1:]
    text = data.decode("utf-8", "surrogateescape")
    try:
        match kind:
            case b"h":
                check = Check(http=text)
            case b"t":
                check = Check(tcp=text)
            case b"g":
                check = Check(grpc=text)
            case _:
                check = read_check(_json(data))
    except InvalidInstance as error:
        check_error_text(error)
        return f"{outcome(error)} {str(error)[:16]}"
    _can_be_run(check)
    assert read_check(check.stated()) == check, "a check states all its fields"
    return f"{check.kind} {check.health if hasattr(check, 'health') else ''}"


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _can_be_run(check: Check) -> None:
    """Check that the check's target can be resolved and contacted without an unexpected error."""
    match check.kind:
        case CheckKind.HTTP:
            assert check.http is not None
            url = urlsplit(check.http)
            _lookup(url_host(url.hostname or ""), url.port or 80)
            _exchange(_ask(check, url, _Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")))
        case CheckKind.TCP:
            assert check.tcp is not None
            _lookup(*Address.parse(check.tcp))
        case CheckKind.GRPC:
            assert check.grpc is not None
            target, _, service = check.grpc.partition("/")
            _lookup(*Address.parse(target))
            _exchange(_call(_Answers(b""), target, service, scheme="http"))


def _lookup(host: str, port: int) -> None:
    host.encode("idna")  # as getaddrinfo does
    assert 0 < port <= 65_535


def _exchange(asked: Any) -> Any:
    """Run a coroutine that never waits."""
    try:
        asked.send(None)
    except StopIteration as done:
        return done.value
    finally:
        asked.close()
    raise AssertionError("it waits")


class _Answers(trio.abc.Stream):
    """A stream that always gives the same answer, and never waits."""

    def __init__(self, data: bytes, piece: int = 65_536) -> None:
        self._data, self._piece = data, piece

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        pass

    async def wait_send_all_might_not_block(self) -> None:
        pass

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        size = min(self._piece, max_bytes or self._piece)
        data, self._data = self._data[:size], self._data[size:]
        return data

    async def aclose(self) -> None:
        pass


def _check_seeds() -> Iterator[bytes]:
    for url in (
        *("http://127.0.0.1:8080/health?a=b", "https://app.example/", "http://[fe80::1%25eth0]:80/", "http://[::1]/"),
        *("http://a_b.c.:80/x", "http://user@host/", "http://10.0.0.1:0/", "http://app..svc/", "http://xn--a/%00"),
    ):
        yield b"h" + url.encode()
    for address in ("127.0.0.1:80", "[::1]:80", "app:1", ".:80", "[fe80::1%eth0]:80", "10.0.0.1:99999", "0.0.0.0:80"):
        yield b"t" + address.encode()
        yield b"g" + address.encode() + b"/my.Service"
    yield b'j{"http":"http://127.0.0.1/","headers":{"A":"b","Host":"x"},"method":"PUT","status":[200,404],"verify":false}'
    yield b'j{"command":["/bin/true","x"],"interval":"500ms","timeout":1,"successes":2,"initial":"warning"}'
    yield b'j{"ttl":"5s","name":"t","deregister_after":60}'


# Answers of checked services


def _answers(data: bytes) -> str:
    """First byte: HTTP or gRPC; second: the size of the pieces."""
    kind, piece, data = data[:1], (data[1:2] or b"\1")[0] + 1, data[2:]
    if kind == b"g":
        try:
            finding = _finding(_exchange(_call(_Answers(data, piece), "h:1", "s", scheme="http")))
        except ProtocolError as error:
            check_error_text(error)
            return outcome(error)
    else:
        check = Check(http="http://127.0.0.1/")
        try:
            finding = _exchange(_ask(check, urlsplit("http://127.0.0.1/"), _Answers(data, piece)))
        except h11.ProtocolError as error:
            check_error_text(error)
            return outcome(error)
    finding.text.encode()
    assert len(finding.text) <= 2 * limits.CHECK_OUTPUT_BYTES_MAX + 16_384
    return f"{finding.health} {finding.text[:8]}"


_SETTINGS_FRAME: Final = b"\0\0\0\4\0\0\0\0\0"


def _answer_seeds() -> Iterator[bytes]:
    yield b"h\xffHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    yield b"h\x08HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many\r\n\r\n" + b"x"
    yield b"h\x08HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    yield b"h\xffHTTP/1.0 503 \xff\r\n\r\n" + b"x" * 2000
    yield b"g\xff" + _SETTINGS_FRAME
    # :status 200 and content-type application/grpc (HPACK), a HealthCheckResponse, then the trailer grpc-status: 0
    head = b"\x88\x5f\x10application/grpc"
    body = b"\0\0\0\0\2\x08\1"
    trailer = b"\x40\x0bgrpc-status\x010"
    frames = _frame(1, 4, head) + _frame(0, 0, body) + _frame(1, 5, trailer)
    yield b"g\xff" + _SETTINGS_FRAME + frames
    yield (
        b"g\x09"
        + _SETTINGS_FRAME
        + _frame(1, 5, b"\x88" + b"\x40\x0bgrpc-status\x015" + b"\x40\x0cgrpc-message\x02\xff\xfe")
    )
    yield b"g\xff" + _SETTINGS_FRAME + _frame(3, 0, b"\0\0\0\2")
    yield b"g\xff" + _SETTINGS_FRAME + b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)


def _frame(kind: int, flags: int, body: bytes) -> bytes:
    return len(body).to_bytes(3) + bytes((kind, flags)) + (1).to_bytes(4) + body


TARGETS: Final = (
    Target(
        "checks",
        "a check can be run, or InvalidInstance",
        _checks,
        _check_seeds,
        (b"http://", b"https://", b"%25", b"[::", b"]", b"@", b":80", b"/", b"..", b"xn--", b'"headers":{', b"%eth0"),
    ),
    Target(
        "check-answers",
        "whatever a checked service answers is a finding or a protocol error",
        _answers,
        _answer_seeds,
        (b"HTTP/1.1 ", b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"grpc-status", b"\x40"),
        cost=3,
    ),
)
