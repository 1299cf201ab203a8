"""Traces of the agent: off unless asked for, set up by OpenTelemetry's own variables, and refused in one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from gossipreg.cli import run_agent, tracing
from gossipreg.errors import ConfigError
from tests.cli.conftest import Ran

AGENT = ("agent", "--bind", "127.0.0.1:0", "--http", "127.0.0.1:0", "--dns", "off")


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": ""}, False),
        ({"OTEL_TRACES_EXPORTER": "None"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, False),
    ],
)
def test_only_the_name_of_an_exporter_asks_for_traces(environment: dict[str, str], wanted: bool) -> None:
    assert tracing.is_wanted(environment) is wanted


def test_an_agent_without_traces_imports_nothing_of_them() -> None:
    code = (
        "import sys; import gossipreg.cli.run_agent, gossipreg.frontends.http.server;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_spans_go_to_the_exporter_and_name_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    provider = tracing.open_provider(tracing.open_processor(), "web-1")
    told = dict(provider.resource.attributes)
    provider.shutdown()
    assert (told["service.name"], told["service.instance.id"]) == ("gossipreg", "web-1")
    assert told["deployment.environment.name"] == "test"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "registry")
    provider = tracing.open_provider(tracing.open_processor(), "web-1")
    assert provider.resource.attributes["service.name"] == "registry"
    provider.shutdown()


@pytest.mark.parametrize(
    ("sampler", "kept"), [(None, True), ("parentbased_always_on", False), ("always_off", False), ("always_on", True)]
)
def test_a_callers_flag_counts_only_where_the_operator_has_chosen_a_sampler_by_it(
    sampler: str | None, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
    from opentelemetry import trace

    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.delenv("OTEL_TRACES_SAMPLER", raising=False)
    if sampler is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    provider = tracing.open_provider(tracing.open_processor(), "web-1")
    caller = trace.NonRecordingSpan(trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0)))
    span = provider.get_tracer("test").start_span("GET", context=trace.set_span_in_context(caller))
    assert span.is_recording() is kept
    provider.shutdown()


def test_an_exporter_that_is_not_installed_is_a_mistake_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin-of-yore")
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER: no exporter zipkin-of-yore is installed"):
        tracing.open_processor()


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("resources", "trace", "trace.export"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.sdk.{name}", None)
    with pytest.raises(ConfigError, match=r'pip install "gossipreg\[otel\]"'):
        tracing.open_processor()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"OTEL_PROPAGATORS": "foo"}, "OTEL_PROPAGATORS: Propagator foo not found"),
        ({"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT must be a non-negative integer"),
        ({"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "999999"}, "max_export_batch_size must be less than or equal"),
    ],
    ids=["propagator", "limit", "batch"],
)
def test_a_variable_that_cannot_be_used_is_a_mistake_in_one_line(
    environment: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(sys.modules, "opentelemetry.propagate", raising=False)  # it reads its variable once
    with pytest.raises(ConfigError, match=said) as caught:
        tracing.open_processor()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong", [{"OTEL_PROPAGATORS": "foo"}, {"OTEL_TRACES_EXPORTER": "zipkin-of-yore"}], ids=["propagator", "exporter"]
)
def test_what_is_wrong_with_traces_is_said_before_the_node_is_opened_and_by_check_config(
    wrong: dict[str, str], run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")

    def open_node(_: object) -> None:
        pytest.fail("the node was opened")

    monkeypatch.setattr(run_agent, "open_node", open_node)
    for name, value in {"OTEL_TRACES_EXPORTER": "console", **wrong}.items():
        monkeypatch.setenv(name, value)
    for more in ([], ["--check-config"]):
        monkeypatch.delitem(sys.modules, "opentelemetry.propagate", raising=False)  # it reads its variable once
        ran = run(*AGENT, *more)
        assert (ran.status, ran.out, len(ran.err.splitlines())) == (2, "", 1), ran
        assert ran.err.startswith(f"gossipreg: {next(iter(wrong))}: ")


def test_traces_that_can_be_made_pass_the_check_of_the_configuration(
    run: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    assert run(*AGENT, "--check-config") == Ran(0, "ok\n", "")
