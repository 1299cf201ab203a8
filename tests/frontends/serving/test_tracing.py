"""Traces of requests: named by method and route, below the caller's span, and ended whatever becomes of the answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
import trio
import trio.testing

from gossipreg.frontends.serving.acceptor import Acceptor
from gossipreg.frontends.serving.audit_log import AuditLog
from gossipreg.frontends.serving.dispatcher import Dispatcher
from tests.frontends.fake_node import FakeNode
from tests.frontends.wire import ask, dial, dispatcher, get, read_until

sdk: Any = pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
export: Any = pytest.importorskip("opentelemetry.sdk.trace.export")
memory: Any = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
trace: Any = pytest.importorskip("opentelemetry.trace")

_TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
_CALLER: Final = "b7ad6b7169203331"


@attrs.define(eq=False)
class Traced:
    """A listener whose spans are kept."""

    fake: FakeNode
    exporter: Any
    listener: Acceptor

    @classmethod
    def of(cls, fake: FakeNode) -> Traced:
        from gossipreg.frontends.serving.tracing import RequestTracer

        exporter, provider = memory.InMemorySpanExporter(), sdk.TracerProvider()
        provider.add_span_processor(export.SimpleSpanProcessor(exporter))
        handler = dispatcher(fake)
        handler.tracer = RequestTracer.of(provider)
        return cls(fake, exporter, Acceptor(handler))

    @property
    def spans(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The name and the attributes of each span that has ended."""
        return [(each.name, dict(each.attributes)) for each in self.exporter.get_finished_spans()]

    async def ask(self, *requests: bytes) -> list[int]:
        async with trio.open_nursery() as nursery:
            said = await ask(dial(self.listener, nursery), *requests)
            nursery.cancel_scope.cancel()
        return [each.status for each in said]


@pytest.fixture
def traced() -> Traced:
    return Traced.of(FakeNode())


async def test_a_span_has_the_route_and_the_status_and_no_query(traced: Traced) -> None:
    assert await traced.ask(get("/api/v1/services/orders?tag=secret", "User-Agent: curl/8")) == [200]
    assert traced.spans == [
        (
            "GET /api/v1/services/NAME",
            {
                "http.request.method": "GET",
                "url.scheme": "http",
                "url.path": "/api/v1/services/orders",
                "network.protocol.name": "http",
                "user_agent.original": "curl/8",
                "server.address": "localhost",
                "http.route": "/api/v1/services/NAME",
                "http.response.status_code": 200,
            },
        )
    ]
    [span] = traced.exporter.get_finished_spans()
    assert span.kind is trace.SpanKind.SERVER
    assert span.parent is None


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (f"http://bob:{SECRET}@localhost/api/v1/members?token={SECRET}", "/api/v1/members"),
        (f"HTTP://bob:{SECRET}@localhost", "/"),
        (f"http://localhost?token={SECRET}", "/"),
        (f"https://bob:{SECRET}@localhost/a#{SECRET}", "/a"),
        (f"ftp://{SECRET}@x/a?b", "/a"),
        (f"bob:{SECRET}@localhost:443", "localhost:443"),
        (f"/api/v1/members%3Ftoken={SECRET}", "/api/v1/members"),
        (f"/a%23{SECRET}", "/a"),
        ("*", "*"),
        ("/" + "a" * 5000, "/" + "a" * 252 + "..."),
    ],
)
async def test_a_path_shows_no_secret_of_the_target_and_is_cut(target: str, path: str, traced: Traced) -> None:
    await traced.ask(get(target).replace(b"Host: ", f"Host: bob:{SECRET}@".encode()))
    [(_, told)] = traced.spans
    assert told["url.path"] == path
    assert SECRET not in str(told)


async def test_the_audit_log_shows_no_secret_of_a_target_that_is_refused(traced: Traced, tmp_path: Path) -> None:
    handler = traced.listener.handler
    assert isinstance(handler, Dispatcher)
    handler.server = attrs.evolve(handler.server, audit=AuditLog(tmp_path / "audit.log"))
    handler.server.audit.open()
    targets = [f"http://bob:{SECRET}@elsewhere/api/v1/instances?token={SECRET}", f"http://elsewhere?{SECRET}"]
    for target in targets:
        assert await traced.ask(get(target).replace(b"GET", b"PUT")) == [403]
    handler.server.audit.close()
    lines = (tmp_path / "audit.log").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["PUT /api/v1/instances", "PUT /"]


async def test_what_a_client_writes_is_cut(traced: Traced) -> None:
    method, long = "M" * 4000, "a" * 4000
    state = f"tracestate: a={'b' * 250},c={'d' * 255},e={'f' * 10}"
    await traced.ask(
        f"{method} / HTTP/1.1\r\nHost: {long}\r\nUser-Agent: {long}\r\n"
        f"traceparent: 00-{_TRACE}-{_CALLER}-01\r\n{state}\r\n\r\n".encode()
    )
    [span] = traced.exporter.get_finished_spans()
    assert max(len(str(each)) for each in span.attributes.values()) == 256
    assert len(span.context.trace_state) == 0


async def test_a_caller_that_is_traced_is_the_parent(traced: Traced) -> None:
    assert await traced.ask(get("/healthz", f"traceparent: 00-{_TRACE}-{_CALLER}-01"), get("/healthz")) == [200, 200]
    below, own = traced.exporter.get_finished_spans()
    assert (f"{below.context.trace_id:032x}", f"{below.parent.span_id:016x}") == (_TRACE, _CALLER)
    assert own.parent is None


async def test_failures_are_told_and_what_is_the_clients_is_no_error(traced: Traced) -> None:
    traced.fake.leaving = True
    assert await traced.ask(get("/healthz")) == [503]
    assert await Traced.of(FakeNode()).ask(get("/nowhere")) == [404]
    [span] = traced.exporter.get_finished_spans()
    assert (span.status.status_code, span.attributes["error.type"]) == (trace.StatusCode.ERROR, "503")
    other = Traced.of(FakeNode())
    assert await other.ask(b"BREW /api/v1/members HTTP/1.1\r\nHost: [::1]:8500\r\n\r\n") == [405]
    [span] = other.exporter.get_finished_spans()
    assert span.name == "HTTP"
    assert span.status.status_code is trace.StatusCode.UNSET
    told = dict(span.attributes)
    assert (told["http.request.method"], told["http.request.method_original"]) == ("_OTHER", "BREW")
    assert (told["server.address"], told["server.port"]) == ("::1", 8500)


async def test_an_answer_that_is_waited_for_is_within_its_span_and_a_client_that_goes_ends_it(
    traced: Traced, autojump_clock: trio.testing.MockClock
) -> None:
    index = traced.fake.index("orders")
    held = get(f"/api/v1/services/orders?index={index}&wait=10s")
    async with trio.open_nursery() as nursery:
        stream = dial(traced.listener, nursery)
        await stream.send_all(held)
        assert (await read_until(stream, b"]}")).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()
    assert [name for name, _ in traced.spans] == ["GET /api/v1/services/NAME"]
    async with trio.open_nursery() as nursery:
        stream = dial(traced.listener, nursery)
        await stream.send_all(held)
        await trio.sleep(1)
        assert len(traced.spans) == 1, "it is still waited for"
        nursery.cancel_scope.cancel()
    assert traced.spans[1][1]["error.type"] == "Cancelled"


async def test_events_are_a_span_that_ends_with_their_beginning(traced: Traced) -> None:
    async with trio.open_nursery() as nursery:
        stream = dial(traced.listener, nursery)
        await stream.send_all(get("/api/v1/events"))
        await read_until(stream, b"event: snapshot")
        assert [name for name, _ in traced.spans] == ["GET /api/v1/events"]
        nursery.cancel_scope.cancel()
