"""Traces of the agent: off unless asked for, set up by OpenTelemetry's own variables, and refused in one line."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gossipreg.cli import tracing
from gossipreg.errors import ConfigError


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
    provider = tracing.open_provider("web-1")
    told = dict(provider.resource.attributes)
    provider.shutdown()
    assert (told["service.name"], told["service.instance.id"]) == ("gossipreg", "web-1")
    assert told["deployment.environment.name"] == "test"
    monkeypatch.setenv("OTEL_SERVICE_NAME", "registry")
    provider = tracing.open_provider("web-1")
    assert provider.resource.attributes["service.name"] == "registry"
    provider.shutdown()


def test_an_exporter_that_is_not_installed_is_a_mistake_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="PyPI: opentelemetry-sdk")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin-of-yore")
    with pytest.raises(ConfigError, match="OTEL_TRACES_EXPORTER: no exporter zipkin-of-yore is installed"):
        tracing.open_provider("web-1")


def test_without_the_extra_its_name_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("resources", "trace", "trace.export"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.sdk.{name}", None)
    with pytest.raises(ConfigError, match=r'pip install "gossipreg\[otel\]"'):
        tracing.open_provider("web-1")
