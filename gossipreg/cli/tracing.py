"""Tracing of the agent, configured by the standard OpenTelemetry environment variables (``OTEL_*``).

It is off unless ``OTEL_TRACES_EXPORTER`` names an exporter; while it is off no OpenTelemetry module is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Final

from gossipreg import __version__
from gossipreg.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

#: The variable that names the exporter; tracing is off if it is unset, empty or `none`.
VARIABLE: Final = "OTEL_TRACES_EXPORTER"

#: How long an agent that ends waits at most for spans that are not exported yet (seconds).
CLOSE_SECONDS: Final = 3.0

#: The entry point group in which packages declare their exporters.
_GROUP: Final = "opentelemetry_traces_exporter"

#: The entry point that `otlp` stands for, by the protocol that the environment names.
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


def is_wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    exporter = environment.get(VARIABLE, "").strip().lower()
    return exporter not in ("", "none") and environment.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"


def open_processor() -> SpanProcessor:
    """Return the processor that exports the agent's spans in batches, from a thread of its own.

    Call it before the agent's node is made, so that a wrong variable keeps the agent from starting.
    Raises ``ConfigError`` if the extra, the exporter or a propagator is not installed, or a value of ``OTEL_*`` cannot
    be used.
    """
    try:
        import_module("opentelemetry.propagate")  # it reads OTEL_PROPAGATORS when it is imported
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError:
        raise ConfigError(f'{VARIABLE} is set: traces need an extra: pip install "gossipreg[otel]"') from None
    except Exception as error:  # noqa: BLE001 -- a propagator may raise anything when it is loaded
        raise ConfigError(f"OTEL_PROPAGATORS: {_line(error)}") from None
    exporter = _exporter(os.environ)
    try:
        TracerProvider(shutdown_on_exit=False)  # only to validate the variables of the sampler and the limits
        return BatchSpanProcessor(exporter)
    except Exception as error:  # noqa: BLE001 -- so may a sampler
        raise ConfigError(f"{VARIABLE}: traces cannot be made with these OTEL_ variables: {_line(error)}") from None


def open_provider(processor: SpanProcessor, node: str) -> TracerProvider:
    """Return the tracer provider of the agent ``node``, which hands its spans to ``processor``.

    The ``OTEL_*`` variables set its resource, sampler and limits.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    about = {"service.instance.id": node, "service.version": __version__}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        about["service.name"] = "gossipreg"
    # The SDK's default sampler obeys the `sampled` flag of the client's request, so any client could keep its requests
    # out of the traces. Here the flag counts only if the operator has chosen such a sampler (`parentbased_...`).
    sampler = None if os.environ.get("OTEL_TRACES_SAMPLER", "").strip() else ALWAYS_ON
    provider = TracerProvider(sampler, Resource.create(about))
    provider.add_span_processor(processor)
    return provider


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    from importlib.metadata import entry_points  # it imports `email`, which no other agent needs

    name = environment[VARIABLE].strip()
    if name == "otlp":
        protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL"
        )
        name = _OTLP.get(protocol or "http/protobuf", f"otlp_{protocol}")
    for found in entry_points(group=_GROUP, name=name):
        try:
            exporter: SpanExporter = found.load()()
        except Exception as error:  # noqa: BLE001 -- another package's code may raise anything at a wrong OTEL_ value
            raise ConfigError(f"{VARIABLE}: the exporter {name} cannot be used: {_line(error)}") from None
        return exporter
    known = ", ".join(sorted({each.name for each in entry_points(group=_GROUP)})) or "none"
    raise ConfigError(f"{VARIABLE}: no exporter {name} is installed (there are: {known})")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
