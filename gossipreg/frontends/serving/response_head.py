"""Heads of answers: the status line and headers of each kind, and HTTP's form of the date.

An answer to a poll is written without h11: the beginning of its head is kept for a second, since only the request's
name differs.
"""

from __future__ import annotations

import functools
import http
import time
from typing import Final

import h11

from gossipreg.frontends.serving import request_id
from gossipreg.frontends.serving.response import Response, StreamingResponse

_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_REASONS: Final = {status.value: status.phrase.encode("ascii") for status in http.HTTPStatus}
_WITHOUT_BODY: Final = frozenset({204, 304})
CLOSE: Final = (b"connection", b"close")
_STREAM: Final = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), CLOSE)


def head_of(status: int, headers: list[tuple[bytes, bytes]]) -> h11.Response:
    """The head of an answer, for h11 to write."""
    return h11.Response(status_code=status, headers=headers, reason=_REASONS[status])


def headers_of(answer: Response, name: bytes) -> list[tuple[bytes, bytes]]:
    """All headers of ``answer``; ``name``: what its request is called in the log."""
    return [_date(int(time.time())), (request_id.HEADER, name), *answer.headers, *_about_body(answer)]


def _about_body(answer: Response) -> tuple[tuple[bytes, bytes], ...]:
    """What a client must know to find the answer's end (RFC 9112 §6.3)."""
    if answer.content:
        return (b"content-type", answer.media), (b"content-length", b"%d" % len(answer.content))
    return () if answer.status in _WITHOUT_BODY else ((b"content-length", b"0"),)


def polled_head(answer: Response, name: bytes) -> bytes:
    """The head of an answer to a GET, as h11 would write it."""
    headers = (*answer.headers, *_about_body(answer))
    return b"%bx-request-id: %b\r\n\r\n" % (_raw_head(answer.status, headers, int(time.time())), name)


@functools.lru_cache(maxsize=64)
def _raw_head(status: int, headers: tuple[tuple[bytes, bytes], ...], second: int) -> bytes:
    """The beginning of an answer: the same for all that are polled or waited for in this second."""
    lines = [b"HTTP/1.1 %d %b" % (status, _REASONS[status])]
    lines += [b"%b: %b" % header for header in (_date(second), *headers)]
    return b"\r\n".join([*lines, b""])


def stream_head(name: bytes, events: StreamingResponse) -> h11.Response:
    """The head of a stream of events, which is the last answer on its connection."""
    return head_of(200, [_date(int(time.time())), (request_id.HEADER, name), *events.headers, *_STREAM])


@functools.lru_cache(maxsize=1)
def _date(second: int) -> tuple[bytes, bytes]:
    return (b"date", http_date(second))


def http_date(second: int) -> bytes:
    """A time in seconds since the epoch, as HTTP has it (RFC 9110 §5.6.7). `email` takes longer to be imported."""
    at = time.gmtime(second)
    clock = b"%02d:%02d:%02d GMT" % (at.tm_hour, at.tm_min, at.tm_sec)
    return b"%b, %02d %b %04d %b" % (_DAYS[at.tm_wday], at.tm_mday, _MONTHS[at.tm_mon - 1], at.tm_year, clock)
