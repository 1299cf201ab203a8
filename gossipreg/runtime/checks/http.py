"""HTTP checks: one request on a connection of its own, whose result is the status of the answer.

Redirects are not followed and no proxy is used: only the URL that the user wrote is requested. The first line of a
finding is gossiped to all nodes, so it holds nothing that the target has sent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import h11
import trio

from gossipreg import limits
from gossipreg.check import Check, url_host
from gossipreg.model import Health
from gossipreg.protocol.registry.checks import Finding
from gossipreg.runtime.checks.dialing import AllowedTargets, dial, dial_tls

_HEAD_BYTES_MAX: Final = 16_384
_PIECE_BYTES: Final = 8192

#: A service that says "too many requests" still serves: as in Consul, that is a warning.
_TOO_MANY: Final = 429


async def run_http(check: Check, allowed: AllowedTargets) -> Finding:
    """Request the URL once. Raises ``OSError`` and trio's errors where there is no answer."""
    assert check.http is not None
    url = urlsplit(check.http)
    host = url_host(url.hostname or "")
    if url.scheme == "https":
        stream: trio.abc.Stream = await dial_tls(
            host, url.port or 443, allowed, verify=check.verify, protocol="http/1.1"
        )
    else:
        stream = await dial(host, url.port or 80, allowed)
    try:
        return await _ask(check, url, stream)
    except h11.ProtocolError as error:
        return Finding(Health.CRITICAL, f"what answers does not speak HTTP/1.1\n{error}")
    finally:
        await trio.aclose_forcefully(stream)


async def _ask(check: Check, url: SplitResult, stream: trio.abc.Stream) -> Finding:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
    given = {name.lower() for name in check.headers}
    headers = list(check.headers.items())
    headers += [(name, value) for name, value in _usual(check, url) if name.lower() not in given]
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    request = connection.send(h11.Request(method=check.method, target=target, headers=headers))
    end = connection.send(h11.EndOfMessage())
    assert request is not None
    assert end is not None
    await stream.send_all(request + end)
    body = bytearray()
    status = 0
    read = 0
    while True:
        match connection.next_event():
            case h11.NEED_DATA:
                if len(body) >= limits.CHECK_OUTPUT_BYTES_MAX or read >= limits.CHECK_READ_BYTES_MAX:
                    break  # only the status counts; the rest of a large body is not read
                received = bytes(await stream.receive_some(_PIECE_BYTES))
                if not received and not status:
                    break
                read += len(received)
                connection.receive_data(received)
            case h11.Response(status_code=status):
                pass
            case h11.Data(data=data):
                body += data[: limits.CHECK_OUTPUT_BYTES_MAX - len(body)]
            case h11.InformationalResponse():
                pass
            case _:
                break
    if not status:
        return Finding(Health.CRITICAL, "it hung up without an answer")
    return Finding(_health(check, status), f"{_words(status)}\n{body.decode(errors='replace')}".rstrip())


def _words(status: int) -> str:
    """The status as RFC 9110 calls it. The reason phrase of the target is part of its output, which fewer may see."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _usual(check: Check, url: SplitResult) -> list[tuple[str, str]]:
    length = [("Content-Length", "0")] if check.method in ("POST", "PUT") else []
    host = url.netloc
    if "%" in host:  # the interface means something on this machine only (RFC 6874 §4)
        host = host.partition("%")[0] + "]" + host.partition("]")[2]
    return [("Host", host), ("User-Agent", "gossipreg"), ("Accept", "*/*"), ("Connection", "close"), *length]


def _health(check: Check, status: int) -> Health:
    if status in check.status if check.status else 200 <= status <= 299:
        return Health.PASSING
    return Health.WARNING if status == _TOO_MANY else Health.CRITICAL
