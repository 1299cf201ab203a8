"""Targets of the HTTP port: a complete listener over streams in memory, and request bodies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import attrs
import trio
import trio.testing

from gossipreg import limits
from gossipreg.errors import InvalidInstance
from gossipreg.frontends.http.handlers import read_spec
from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.compatibility_api import load
from gossipreg.frontends.serving.response import HttpError
from gossipreg.model import Instance
from gossipreg.spec import NEXT
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import dispatcher, no_mistakes
from tests.fuzz.target import Target, check_error_text, outcome

#: Statuses from 500 on that show no internal error.
_FINE: Final = (501, 503, 505)

#: Maximum size of the answers to one input (bytes): each of its requests is at most a list of three instances.
_ANSWER_BYTES_MAX: Final = 4_000_000


def _node() -> FakeNode:
    node = FakeNode()
    for number, owner in enumerate(("alpha", "beta", "beta")):
        node.hold(Instance(id=f"web-{number}", service="web", host="10.0.0.1", port=80 + number, owner=owner))
    return node


async def _run_http(data: bytes) -> str:
    """First byte: the place at which the rest is split."""
    cut, data = (data[:1] or b"\0")[0], data[1:]
    node = _node()
    handler = dispatcher(node, None, *load(("consul", "eureka", "envoy", "traefik")))
    listener = Acceptor(handler)
    ours, theirs = trio.testing.memory_stream_pair()
    got = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listener.admit, theirs)
        for part in (data[:cut], data[cut:]):
            if part:
                await ours.send_all(part)
                await trio.testing.wait_all_tasks_blocked()
        await ours.send_eof()
        head = bytearray()
        async for answered in ours:
            head += bytes(answered[: 9 - len(head)])
            got += len(answered)
    assert not got or head == b"HTTP/1.1 ", head
    assert got <= _ANSWER_BYTES_MAX
    statuses = sorted({status for _, _, status in handler.server.requests})
    assert all(status < 500 or status in _FINE for status in statuses), handler.server.requests
    return (
        " ".join(sorted(f"{method} {path} {status}" for method, path, status in handler.server.requests))
        or f"{bool(got)}"
    )


def _http(data: bytes) -> str:
    with no_mistakes():
        return trio.run(_run_http, data, clock=trio.testing.MockClock(autojump_threshold=0))


def _request(method: str, target: str, body: bytes = b"", *headers: str) -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *headers, *length, "", ""]).encode() + body


def _http_seeds() -> Iterator[bytes]:
    for target in (
        *(
            "/healthz",
            "/api/v1/services/web?all&tag=v1",
            "/api/v1/services?index=1&wait=1",
            "/api/v1/events",
            "/metrics",
        ),
        *("/api/v1/members", "/api/v1/policies", "/api/v1/roles", "/api/v1/checks/web-0", "/api/v1/http_sd"),
        *(
            "/v1/health/service/web?passing&filter=Service.ID+==+web",
            "/v1/catalog/services?near=_agent",
            "/v1/agent/self",
        ),
        *("/v1/health/state/any", "/v1/catalog/node/alpha", "/v1/query/web/execute?limit=1", "/v1/agent/checks"),
        *(
            "/eureka/apps",
            "/eureka/apps/delta",
            "/eureka/apps/WEB/web-0",
            "/eureka/vips/web",
            "/traefik/v1/config?rule=x",
        ),
    ):
        yield b"\xff" + _request("GET", target)
    for method, target, body in (
        ("PUT", "/api/v1/instances", b'{"service":"a","port":1,"checks":[{"ttl":"5s"}]}'),
        ("PUT", "/api/v1/policies", b'{"service":"web","split":{"v1":1}}'),
        ("PUT", "/api/v1/maintenance/web-0?reason=x", b""),
        ("DELETE", "/api/v1/instances/web-0", b""),
        ("PUT", "/v1/agent/service/register", b'{"Name":"a","Port":1,"Check":{"TTL":"5s"}}'),
        ("PUT", "/v1/agent/service/deregister/web-0", b""),
        ("PUT", "/v1/agent/check/pass/service:web-0", b""),
        ("POST", "/eureka/apps/A", b'{"instance":{"app":"A","hostName":"h","ipAddr":"10.0.0.1","port":{"$":1}}}'),
        ("PUT", "/eureka/apps/WEB/web-0/status?value=DOWN", b""),
        ("POST", "/v3/discovery:endpoints", b'{"resource_names":["web"],"node":{"id":"e"}}'),
    ):
        yield b"\x20" + _request(method, target, body, "Accept: application/json")
    yield b"\x10" + _request("HEAD", "/healthz") * 3
    yield (
        b"\x40"
        b"PUT /api/v1/instances HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    )
    yield b"\x08" + b"\r\n" + _request("GET", "http://localhost/healthz", b"", "Origin: http://x", "X-Request-Id: a")
    yield b"\x08" + _request("PUT", "/api/v1/drain", b"x", "Transfer-Encoding: chunked", "Expect: 100-continue")
    yield b"\x08" + b"GET /healthz HTTP/2.0\r\n\r\n"


_HTTP_WORDS: Final = (
    *(b"\r\n", b"\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"Content-Length: ", b"Transfer-Encoding: chunked", b"Host: "),
    *(
        b"Connection: close",
        b"Expect: 100-continue",
        b"Content-Encoding: gzip",
        b"Authorization: Bearer ",
        b"%2f",
        b"%00",
    ),
    *(b"?index=1&wait=1s", b"filter=", b"&near=", b"GET ", b"PUT ", b"Sec-Fetch-Site: cross-site", b"Origin: null"),
)


# Bodies


def _registrations(data: bytes) -> str:
    try:
        wanted = read_spec(data)
        if wanted.term == NEXT:
            wanted = attrs.evolve(wanted, term=0)
        instance = wanted.instance(member="alpha", host="10.0.0.1", zone="")
    except (HttpError, InvalidInstance) as error:
        check_error_text(error)
        return f"{outcome(error)} {str(error)[:12]}"
    assert len(wanted.checks) <= limits.CHECKS_PER_INSTANCE_MAX
    return f"{len(wanted.checks)} {bool(instance.tags)} {bool(instance.meta)} {instance.role}"


def _registration_seeds() -> Iterator[bytes]:
    yield b'{"service":"orders","port":80}'
    yield (
        b'{"service":"orders","port":80,"host":"10.0.0.1","tags":["v1"],"meta":{"a":"b"},"weight":2,"zone":"north",'
        b'"role":"primary","term":"next","id":"orders-1","checks":[{"http":"http://127.0.0.1:1/","interval":"1s"},'
        b'{"name":"t","ttl":5}],"credentials":{"user":"u"}}'
    )
    yield b'{"service":"orders","port":80,"checks":[{"tcp":"[::1]:80","timeout":1.5,"jitter":0.1,"failures":3}]}'


TARGETS: Final = (
    Target(
        "http",
        "every request is answered or refused, never by a mistake of ours",
        _http,
        _http_seeds,
        _HTTP_WORDS,
        cost=60,
    ),
    Target(
        "registrations",
        "a body is an instance with checks, or Refusal or InvalidInstance",
        _registrations,
        _registration_seeds,
        (b'"checks":[{', b'"ttl":', b'"http":', b"\\ud800", b"1e999", b"-1"),
    ),
)
