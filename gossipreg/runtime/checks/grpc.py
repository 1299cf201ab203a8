"""gRPC checks: `grpc.health.v1.Health/Check`, one call on an HTTP/2 connection of its own.

The two messages have one field each, so they are written and read here; HTTP/2 is spoken by `h2`, which like `h11`
knows no sockets. It comes with ``pip install "gossipreg[grpc]"``, and is loaded at the first such check.
"""

from __future__ import annotations

import re
from typing import Final

import attrs
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError

from gossipreg import limits
from gossipreg.check import Check
from gossipreg.model import Address, Health
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.checks.dialing import AllowedTargets, dial, dial_tls

#: The serving statuses of grpc.health.v1.
_SERVING: Final = 1
_STATUSES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}

#: The gRPC codes that a health check is likely to meet.
_CODES: Final = {"5": "NOT_FOUND: the server knows no such service", "12": "UNIMPLEMENTED: it has no health service"}


#: What a status looks like, in HTTP and in gRPC. Anything else that a target writes there is not gossiped.
_NUMBER: Final = re.compile(r"[0-9]{1,3}")


@attrs.define(eq=False, repr=False)
class _Reply:
    """The answer so far."""

    status: str = ""  # of HTTP
    code: str = ""  # of gRPC
    message: str = ""
    data: bytearray = attrs.field(factory=bytearray)
    failure: str = ""
    ended: bool = False


async def run_grpc(check: Check, allowed: AllowedTargets) -> Finding:
    """Call once. Raises ``OSError`` and trio's errors where there is no answer."""
    assert check.grpc is not None
    target, _, service = check.grpc.partition("/")
    address = Address.parse(target, any_host=True)
    if check.tls:
        stream: trio.abc.Stream = await dial_tls(
            address.host, address.port, allowed, verify=check.verify, protocol="h2"
        )
    else:
        stream = await dial(address.host, address.port, allowed)
    try:
        return _finding(await _call(stream, target, service, scheme="https" if check.tls else "http"))
    except ProtocolError as error:
        return Finding(Health.CRITICAL, f"what answers does not speak HTTP/2\n{error}")
    finally:
        await trio.aclose_forcefully(stream)


async def _call(stream: trio.abc.Stream, authority: str, service: str, *, scheme: str) -> _Reply:
    connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    connection.initiate_connection()
    number = connection.get_next_available_stream_id()
    connection.send_headers(
        number,
        [
            (":method", "POST"),
            (":scheme", scheme),
            (":authority", authority),
            (":path", "/grpc.health.v1.Health/Check"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("user-agent", "gossipreg"),
        ],
    )
    connection.send_data(number, _framed(_request(service)), end_stream=True)
    reply = _Reply()
    read = 0
    while not reply.ended:
        await stream.send_all(connection.data_to_send())
        data = await stream.receive_some(limits.CHECK_READ_BYTES_MAX)
        read += len(data)
        if not data or read > limits.CHECK_READ_BYTES_MAX:
            reply.failure = reply.failure or ("its answer is too large" if data else "it hung up")
            break
        for event in connection.receive_data(data):
            _take(reply, event)
    return reply


def _take(reply: _Reply, event: object) -> None:
    match event:
        case ResponseReceived() | TrailersReceived():
            headers = {_text(name): _text(value) for name, value in event.headers or ()}
            reply.status = headers.get(":status", reply.status)
            reply.code = headers.get("grpc-status", reply.code)
            reply.message = headers.get("grpc-message", reply.message)
        case DataReceived():
            reply.data += event.data or b""
        case StreamReset() | ConnectionTerminated():
            reply.failure = f"it broke off with HTTP/2 error {event.error_code}"
            reply.ended = True
        case StreamEnded():
            reply.ended = True


def _text(data: bytes | str) -> str:
    """A header as text: what the checked service writes need not be UTF-8."""
    return data.decode(errors="replace") if isinstance(data, bytes) else data


def _finding(reply: _Reply) -> Finding:
    if reply.failure:
        return Finding(Health.CRITICAL, reply.failure)
    if reply.status != "200":
        known = reply.status if _NUMBER.fullmatch(reply.status) else "missing"
        return Finding(Health.CRITICAL, f"HTTP status {known}")
    if reply.code not in ("", "0"):
        code = reply.code if _NUMBER.fullmatch(reply.code) else "unknown"
        return Finding(Health.CRITICAL, f"gRPC status {code} {_CODES.get(code, '')}".rstrip() + f"\n{reply.message}")
    status = _status(bytes(reply.data))
    if status is None:
        return Finding(Health.CRITICAL, "its answer is no HealthCheckResponse")
    return Finding(Health.PASSING if status == _SERVING else Health.CRITICAL, _STATUSES.get(status, str(status)))


def _request(service: str) -> bytes:
    """A HealthCheckRequest: ``string service = 1``."""
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""


def _framed(message: bytes) -> bytes:
    """A message as gRPC sends it: not compressed, its length, itself."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def _varint(number: int) -> bytes:
    low, high = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _status(data: bytes) -> int | None:
    """The one field of a HealthCheckResponse, ``ServingStatus status = 1``; None for anything else."""
    if len(data) < 5 or data[0] != 0 or int.from_bytes(data[1:5], "big") != len(data) - 5:
        return None
    match list(data[5:]):
        case []:
            return 0
        case [0x08, status] if status < 0x80:
            return status
        case _:
            return None
