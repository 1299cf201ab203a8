"""The Helm chart and the manifest made from it: Kubernetes takes every field, and an agent takes every setting."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]

from gossipreg.cli.settings import SETTINGS, load
from tests.deploy.chart import CHART, MANIFEST, build_renderer, manifest, rendered
from tests.deploy.test_container import FILE
from tests.peers.suites.go_module import needs_go

PAGE: Final = CHART.parents[1] / "README.md"


def documents(text: str) -> dict[str, Any]:
    """The documents of a manifest, by their kind."""
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


SHIPPED: Final = documents(MANIFEST.read_text())


def agent_of(kinds: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = kinds["DaemonSet"]["spec"]["template"]["spec"]["containers"][0]
    return container


def settings_of(kinds: dict[str, Any], directory: Path) -> Any:
    """The settings that an agent has of a manifest, on a node at 10.0.0.11. Raises ``ConfigError`` if it has none."""
    file = directory / "agent.toml"
    file.write_text(kinds["ConfigMap"]["data"]["agent.toml"])
    given = {each["name"]: each.get("value", "") for each in agent_of(kinds)["env"]}
    environ = {name: value.replace("$(NODE_ADDRESS)", "10.0.0.11") for name, value in given.items()}
    return load({}, environ | {"GOSSIPREG_NAME": "node-1"}, file)


def test_an_agent_takes_the_settings(tmp_path: Path) -> None:
    config = settings_of(SHIPPED, tmp_path)
    assert (str(config.bind), config.name, config.http) == ("10.0.0.11:7940", "node-1", "127.0.0.1:8500")
    assert config.join == ("gossipreg.gossipreg.svc:7940",)


def test_every_variable_is_one_of_an_agent() -> None:
    known = {setting.variable for setting in SETTINGS.values()} | {"NODE_ADDRESS"}
    assert {each["name"] for each in agent_of(SHIPPED)["env"]} <= known


def test_the_files_that_the_settings_name_are_mounted() -> None:
    mounted = {each["mountPath"] for each in agent_of(SHIPPED)["volumeMounts"]}
    settings = tomllib.loads(SHIPPED["ConfigMap"]["data"]["agent.toml"])
    assert settings["data_dir"] in mounted
    assert str(Path(settings["key_file"]).parent) in mounted
    assert str(Path(settings["attach"].removeprefix("unix:")).parent) in mounted


def test_the_user_is_the_images() -> None:
    user = SHIPPED["DaemonSet"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in FILE.read_text()


def test_the_name_that_agents_join_is_the_headless_service_and_has_those_that_are_not_ready() -> None:
    service = SHIPPED["Service"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == SHIPPED["DaemonSet"]["spec"]["selector"]["matchLabels"]


def test_an_agent_that_cannot_join_is_not_restarted_for_it() -> None:
    agent = agent_of(SHIPPED)
    assert agent["livenessProbe"]["httpGet"]["path"] == agent["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert agent["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_chart_is_for_the_version_of_the_package() -> None:
    project = tomllib.loads((CHART.parents[3] / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (project, project)
    assert agent_of(SHIPPED)["image"].endswith(f":{project}")


def test_every_value_is_in_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(yaml.safe_load((CHART / "values.yaml").read_text())) == set(schema["properties"])


def test_the_commands_of_the_page_make_what_the_manifest_asks_for() -> None:
    [text] = re.findall(r"^```text\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    pod = SHIPPED["DaemonSet"]["spec"]["template"]["spec"]
    [secret] = [each["secret"]["secretName"] for each in pod["volumes"] if each["name"] == "key"]
    entry = Path(tomllib.loads(SHIPPED["ConfigMap"]["data"]["agent.toml"])["key_file"]).name
    assert f"create secret generic {secret} --from-file={entry}\n" in text
    assert f"create namespace {SHIPPED['Namespace']['metadata']['name']}\n" in text
    [chart, flag] = re.findall(r"helm install --namespace gossipreg gossipreg (\S+) --set (\S+)=", text)[0]
    assert (PAGE.parents[2] / chart).samefile(CHART)
    assert yaml.safe_load((CHART / "values.yaml").read_text())[flag.partition(".")[0]][flag.partition(".")[2]]


def test_a_program_attaches_as_the_page_says() -> None:
    [example] = re.findall(r"^ *```yaml\n( +spec:\n.*?)^ *```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    pod = yaml.safe_load(example)["spec"]
    [socket] = [
        each["hostPath"]["path"]
        for each in SHIPPED["DaemonSet"]["spec"]["template"]["spec"]["volumes"]
        if each["name"] == "socket"
    ]
    assert pod["volumes"][0]["hostPath"]["path"] == socket
    group = SHIPPED["DaemonSet"]["spec"]["template"]["spec"]["securityContext"]["runAsGroup"]
    assert pod["securityContext"]["supplementalGroups"] == [group]
    attach = tomllib.loads(SHIPPED["ConfigMap"]["data"]["agent.toml"])["attach"]
    assert f'Config(attach="{attach}")' in PAGE.read_text()


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_renderer(tmp_path_factory.mktemp("chart"))


@needs_go
@pytest.mark.slow
def test_the_manifest_is_what_helm_makes_of_the_chart_and_kubernetes_takes_every_field(renderer: Path) -> None:
    assert manifest(renderer) == MANIFEST.read_text(), "write it anew: python -m tests.deploy.chart"


@needs_go
@pytest.mark.slow
def test_values_reach_the_agent(renderer: Path, tmp_path: Path) -> None:
    values = {
        "tokensSecret": "tokens",
        "join": ["10.0.0.9", "web-9.example:7940"],
        "settings": 'zone = "rack-1"\n\n[protocol]\nprobe_interval = 2.0\n',
        "dnsForPods": True,
        "ports": {"gossip": 17940, "http": 18500, "dns": 18600},
        "nodeSelector": {"disk": "ssd"},
        "minAvailable": 0,
    }
    text, wrong = rendered(renderer, yaml.safe_dump(values))
    assert not wrong
    kinds = documents(text)
    config = settings_of(kinds, tmp_path)
    assert (str(config.bind), config.http, config.dns) == ("10.0.0.11:17940", "127.0.0.1:18500", "10.0.0.11:18600")
    assert config.join == ("gossipreg.gossipreg.svc:17940", "10.0.0.9", "web-9.example:7940")
    assert (config.zone, config.protocol.probe_interval) == ("rack-1", 2.0)
    assert str(config.tokens_file) == "/etc/gossipreg/tokens/tokens.toml"
    assert "PodDisruptionBudget" not in kinds
    assert kinds["DaemonSet"]["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}


@needs_go
@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ('keySecret: ""', "keySecret"),
        ("ports: {gossip: 0, http: 1, dns: 2}", "ports.gossip"),
        ("tokenSecret: tokens", "tokenSecret"),
        ('image: {repository: ""}', "image.repository"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(renderer: Path, values: str, sentence: str) -> None:
    text, wrong = rendered(renderer, values)
    assert not text
    assert sentence in wrong
