"""OpenTelemetry's own instrumentation of httpx: spans and trace headers pass through the transports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import attrs
import httpx
import pytest

from gossipreg.embed.chooser import Chooser
from gossipreg.embed.httpx import AsyncTransport, Hedging, Transport
from tests.embed.offering import FakeRegistry, offer
from tests.embed.replying import Reply, replying

pytestmark = pytest.mark.peer

instrumentation: Any = pytest.importorskip(
    "opentelemetry.instrumentation.httpx", reason="PyPI: opentelemetry-instrumentation-httpx"
)
trace: Any = pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
export: Any = pytest.importorskip("opentelemetry.sdk.trace.export")
memory: Any = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


@attrs.frozen
class Traced:
    """A service of two servers, of which the first answers 503, and the spans that were made."""

    servers: tuple[Reply, Reply]
    chooser: Chooser
    provider: Any
    exporter: Any

    def spans(self) -> list[tuple[str, int, int]]:
        """What each span is of, in the order in which they ended: URL, span, and the span around it."""
        return [
            (
                each.attributes.get("http.url") or each.attributes.get("url.full", each.name),
                each.context.span_id,
                each.parent.span_id if each.parent else 0,
            )
            for each in self.exporter.get_finished_spans()
        ]

    def parents(self) -> list[int]:
        """The span that each server was told to be called by, in the order of the attempts."""
        told = [seen["traceparent"] for server in self.servers for _, seen in server.seen]
        found = [re.fullmatch(r"00-[0-9a-f]{32}-([0-9a-f]{16})-[0-9a-f]{2}", each) for each in told]
        return [int(each[1], 16) for each in found if each is not None]


@pytest.fixture
def traced() -> Iterator[Traced]:
    exporter = memory.InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    with replying("one", status=503) as one, replying("two") as two:
        offers = tuple(offer(each.name, host="127.0.0.1", port=each.port) for each in (one, two))
        yield Traced((one, two), Chooser(FakeRegistry(offers), strategy="round-robin"), provider, exporter)
    provider.shutdown()


@pytest.mark.parametrize("hedging", [None, Hedging(after=60.0)], ids=["plain", "hedged"])
def test_with_all_of_httpx_instrumented_each_attempt_has_a_span_with_its_address(
    hedging: Hedging | None, traced: Traced
) -> None:
    instrumentor = instrumentation.HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=traced.provider)
    try:
        with (
            traced.provider.get_tracer("test").start_as_current_span("the caller's") as span,
            httpx.Client(transport=Transport(traced.chooser, hedging=hedging)) as web,
        ):
            assert web.get("http://orders/path").status_code == 200
            caller = span.get_span_context().span_id
    finally:
        instrumentor.uninstrument()
    one, two = traced.servers
    attempts = traced.spans()[:2]
    assert [url for url, _, _ in attempts] == [f"http://127.0.0.1:{each.port}/path" for each in (one, two)]
    assert [parent for _, _, parent in attempts] == [caller, caller]
    assert traced.parents() == [id_ for _, id_, _ in attempts]


async def test_with_one_client_instrumented_the_call_has_one_span_and_each_attempt_its_headers(traced: Traced) -> None:
    async with httpx.AsyncClient(transport=AsyncTransport(traced.chooser)) as web:
        instrumentation.HTTPXClientInstrumentor.instrument_client(web, tracer_provider=traced.provider)
        assert (await web.get("http://orders/path")).status_code == 200
    [(url, id_, _)] = traced.spans()
    assert url == "http://orders/path"
    assert traced.parents() == [id_, id_]
