"""Traces: a span of OpenTelemetry for each request, by the semantic conventions of HTTP servers.

Nothing imports this module unless the environment asks for traces: see `gossipreg.cli.tracing`. A span is current
while its request is answered, also where the answer is waited for: trio's tasks carry contexts as OpenTelemetry does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import attrs
from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, TracerProvider

from gossipreg import __version__
from gossipreg.frontends.serving.request import Request, shown_path
from gossipreg.text import shortened

#: Methods that the conventions know by name; any other is `_OTHER`, so that a client cannot make up values.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


#: Characters of an attribute whose text is the client's.
_TEXT_CHARS: Final = 256

#: Characters of a `tracestate` that is passed on; a longer one is left out (W3C Trace Context §3.3.1.5 asks for 512).
_TRACE_STATE_CHARS: Final = 512


@attrs.define(eq=False, repr=False)
class RequestTracer:
    """Makes the spans of one listener. ``scheme``: ``http`` or ``https``."""

    _tracer: Tracer
    _scheme: str = "http"

    @classmethod
    def of(cls, provider: TracerProvider, *, is_tls: bool = False) -> RequestTracer:
        """A tracer whose spans go to ``provider``."""
        return cls(provider.get_tracer("gossipreg", __version__), "https" if is_tls else "http")

    def begin(self, request: Request) -> Span:
        """The span of a request that is to be answered, below that of the caller if its headers name one.

        Its query is left out: it may name what the operator of the traces is not to know.
        """
        method = request.method if request.method in _METHODS else "_OTHER"
        told: dict[str, str | int] = {
            "http.request.method": method,
            "url.scheme": self._scheme,
            "url.path": shown_path(request.target),
            "network.protocol.name": "http",
        }
        if method == "_OTHER":
            told["http.request.method_original"] = shortened(request.method, _TEXT_CHARS)
        if (agent := request.header(b"user-agent")) is not None:
            told["user_agent.original"] = shortened(agent, _TEXT_CHARS)
        told |= _server(request.authority)
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in request.headers
            if name != b"tracestate" or len(value) <= _TRACE_STATE_CHARS
        }
        return self._tracer.start_span(
            _named(method, ""), context=propagate.extract(carrier), kind=SpanKind.SERVER, attributes=told
        )

    @contextmanager
    def entered(self, span: Span) -> Iterator[None]:
        """Have ``span`` be the current one. What interrupts the answer, such as a client that goes away, ends it."""
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.end()
            raise

    def end(self, span: Span, method: str, route: str, status: int) -> None:
        """End ``span``: its request is answered. ``method`` and ``route`` are empty if no route was found."""
        if route:
            span.update_name(_named(method, route))
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def _named(method: str, route: str) -> str:
    return f"{'HTTP' if method == '_OTHER' else method} {route}".rstrip()


def _server(authority: str | None) -> dict[str, str | int]:
    """The address that the client has called, as far as it can be read."""
    try:
        parts = urlsplit(f"//{authority or ''}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return {}
    told: dict[str, str | int] = {} if host is None else {"server.address": shortened(host, _TEXT_CHARS)}
    return told if port is None else told | {"server.port": port}
